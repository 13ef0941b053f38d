"""The state changes of a job, each one atomic, as Lua that Redis runs.

    create ──▶ queued ──claim──▶ running ──finish──▶ succeeded | failed | canceled
                 ▲ └─cancel─▶ canceled │
                 └──── hand_back, rescue

Who runs a job holds a token that is new with every claim. A change that comes with an old
token is refused ("lost"), so a worker that was given up can never write a second result.
Time is Redis's, so that machines with different clocks agree on who is late. Keys are made
from the prefix: this needs one Redis (with replicas if you like), not a Redis Cluster, as RQ
does too.
"""

_PRELUDE = """
local c = cjson.decode(ARGV[1])
local function key(name) return c.prefix .. ':' .. name end
local job = key('job:' .. c.id)
local time = redis.call('TIME')
local now = string.format('%.3f', tonumber(time[1]) + tonumber(time[2]) / 1000000)
local function field(name) return redis.call('HGET', job, name) end
local function held(token) return field('status') == 'running' and field('token') == token end

local function emit(name, data)
  local events = job .. ':events'
  redis.call('XADD', events, 'MAXLEN', '~', c.event_limit, '*', 'name', name, 'data', data)
  redis.call('EXPIRE', events, c.event_ttl)
end

local function close(status, failure)
  redis.call('HSET', job, 'status', status, 'finished_at', c.now, 'expires_at', c.expires)
  if failure ~= '' then redis.call('HSET', job, 'error', failure) end
  redis.call('HDEL', job, 'token', 'worker', 'cancel', 'missing_since')
  redis.call('EXPIRE', job, c.job_ttl)
  redis.call('ZREM', key('running'), c.id)
  redis.call('ZREM', key('queued'), c.id)
  redis.call('DEL', job .. ':checkpoint')
  redis.call('HINCRBY', key('totals'), status, 1)
  if failure == '' then failure = 'null' end
  emit('terminal', '{"status":"' .. status .. '","error":' .. failure .. '}')
  local flat, fields = redis.call('HGETALL', job), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  redis.call('PUBLISH', key('finished'), c.id .. ' ' .. cjson.encode(fields))
end

local function back_to_queue()
  redis.call('HSET', job, 'status', 'queued')
  redis.call('HDEL', job, 'token', 'worker', 'missing_since')
  redis.call('ZREM', key('running'), c.id)
  redis.call('ZADD', key('queued'), field('created_score'), c.id)
end
"""

CREATE = (
    _PRELUDE
    + """
-- ARGV: config, digest, limit, tombstone seconds, now in seconds, picture seconds, number of
-- texts of pictures, number of texts of the record; then the pictures: id, bytes, ...; the
-- record: field, value, ...; and, if the job is to be queued as well, RQ's keys of the queue and
-- of its note, the note's id, and the note: field, value, ...
-- An answer ends by the caller's clock, as `records.job_record` reads it.
-- Returns {created | joined | full, job id | number that wait, number that wait before it}.
local pictured = 8 + tonumber(ARGV[7])
for i = 9, pictured, 2 do
  redis.call('SET', key('image:' .. ARGV[i]), ARGV[i + 1], 'EX', ARGV[6])
  redis.call('SET', key('known:' .. ARGV[i]), 'image', 'EX', ARGV[4])
end
local digest = key('digest:' .. ARGV[2])
local known = redis.call('GET', digest)
if known then
  local other = key('job:' .. known)
  local found = redis.call('HMGET', other, 'status', 'cancel', 'latent_ids',
    'result_until')
  if (found[1] == 'queued' or found[1] == 'running') and not found[2] then
    return {'joined', known}
  end
  local answered = found[1] == 'succeeded' and tonumber(found[4] or 0) > tonumber(ARGV[5])
  if answered then
    local complete = true
    for id in string.gmatch(found[3] or '', '%S+') do
      complete = complete and redis.call('EXISTS', key('latent:' .. id)) == 1
    end
    if complete then return {'joined', known} end
  end
end
local queued = redis.call('ZCARD', key('queued'))
if queued >= tonumber(ARGV[3]) then return {'full', tostring(queued)} end
local last = pictured + tonumber(ARGV[8])
redis.call('HSET', job, 'status', 'queued', 'attempts', 0, 'hand_backs', 0,
  'created_score', ARGV[5], unpack(ARGV, pictured + 1, last))
redis.call('EXPIRE', job, c.job_ttl)
redis.call('SET', digest, c.id, 'EX', c.job_ttl)
redis.call('SET', key('known:' .. c.id), 'job', 'EX', ARGV[4])
redis.call('ZADD', key('queued'), ARGV[5], c.id)
redis.call('ZADD', key('jobs'), ARGV[5], c.id)
redis.call('ZREMRANGEBYSCORE', key('jobs'), '-inf', tonumber(time[1]) - c.job_ttl * 2)
if #ARGV > last then
  local queue, note = ARGV[last + 1], ARGV[last + 2]
  redis.call('SADD', 'rq:queues', queue)
  redis.call('HSET', note, unpack(ARGV, last + 4))
  redis.call('EXPIRE', note, c.job_ttl)
  redis.call('RPUSH', queue, ARGV[last + 3])
end
return {'created', c.id, tostring(redis.call('ZRANK', key('queued'), c.id))}
"""
)

CLAIM = (
    _PRELUDE
    + """
-- ARGV: config, token, worker. Returns {attempt's number, 1 if there is a checkpoint, request},
-- or {} when it cannot be had.
local function taken()
  return {field('attempts'), redis.call('EXISTS', job .. ':checkpoint'), field('request')}
end
local status = field('status')
if status == 'running' and field('token') == ARGV[2] then return taken() end
if status ~= 'queued' then return {} end
redis.call('HSET', job, 'status', 'running', 'token', ARGV[2], 'worker', ARGV[3],
  'heartbeat', now)
redis.call('HDEL', job, 'missing_since')
redis.call('HSETNX', job, 'started_at', c.now)
redis.call('ZREM', key('queued'), c.id)
redis.call('ZADD', key('running'), now, c.id)
redis.call('HINCRBY', job, 'attempts', 1)
return taken()
"""
)

REPORT = (
    _PRELUDE
    + """
-- ARGV: config, token, number of fields, field, value, ..., then event name, data, ...
-- Returns lost | cancel | ok. Also the heartbeat.
if not held(ARGV[2]) then return 'lost' end
redis.call('HSET', job, 'heartbeat', now)
redis.call('ZADD', key('running'), now, c.id)
local last = 3 + 2 * tonumber(ARGV[3])
for i = 4, last, 2 do redis.call('HSET', job, ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV, 2 do emit(ARGV[i], ARGV[i + 1]) end
if field('cancel') then return 'cancel' end
return 'ok'
"""
)

CHECKPOINT = (
    _PRELUDE
    + """
-- ARGV: config, token, step, seconds, bytes. Returns lost | ok.
if not held(ARGV[2]) then return 'lost' end
local checkpoint = job .. ':checkpoint'
redis.call('HSET', checkpoint, 'step', ARGV[3], 'seconds', ARGV[4], 'latents', ARGV[5])
redis.call('EXPIRE', checkpoint, c.job_ttl)
return 'ok'
"""
)

FINISH = (
    _PRELUDE
    + """
-- ARGV: config, token, status, failure or '', result or '', seconds, latent ids, latent
-- seconds, tombstone seconds, end of the result in seconds, progress to tell still or '', then
-- latent id, record, bytes, ...
-- Returns lost, or the status that holds now. A cancel that came in time wins.
if not held(ARGV[2]) then return 'lost' end
local status = ARGV[3]
redis.call('HINCRBYFLOAT', key('totals'), 'job_seconds', ARGV[6])
if field('cancel') then status = 'canceled' end
if status == 'succeeded' then
  if ARGV[11] ~= '' then
    for name, value in pairs(cjson.decode(ARGV[11])) do
      if value ~= cjson.null then redis.call('HSET', job, name, tostring(value)) end
    end
    emit('progress', ARGV[11])
  end
  for i = 12, #ARGV, 3 do
    local latent = key('latent:' .. ARGV[i])
    redis.call('HSET', latent, 'record', ARGV[i + 1], 'bytes', ARGV[i + 2])
    redis.call('EXPIRE', latent, ARGV[8])
    redis.call('SET', key('known:' .. ARGV[i]), 'latent', 'EX', ARGV[9])
  end
  redis.call('HSET', job, 'result', ARGV[5], 'latent_ids', ARGV[7], 'result_until', ARGV[10])
end
if status == 'failed' then close(status, ARGV[4]) else close(status, '') end
return status
"""
)

CANCEL = (
    _PRELUDE
    + """
-- ARGV: config. Returns the status that holds now, or '' when there is no such job.
local status = field('status')
if status == 'queued' then
  close('canceled', '')
  return 'canceled'
end
if status == 'running' then redis.call('HSET', job, 'cancel', '1') end
return status or ''
"""
)

HAND_BACK = (
    _PRELUDE
    + """
-- ARGV: config, token. Returns lost | canceled | queued.
if not held(ARGV[2]) then return 'lost' end
if field('cancel') then
  close('canceled', '')
  return 'canceled'
end
redis.call('HINCRBY', job, 'hand_backs', 1)
back_to_queue()
return 'queued'
"""
)

RESCUE = (
    _PRELUDE
    + """
-- ARGV: config, seconds without a heartbeat, most attempts, failure.
-- Returns alive | gone | queued | failed | canceled.
local status = field('status')
if status ~= 'running' then
  redis.call('ZREM', key('running'), c.id)
  return 'gone'
end
if tonumber(now) - tonumber(field('heartbeat')) < tonumber(ARGV[2]) then return 'alive' end
if field('cancel') then
  close('canceled', '')
  return 'canceled'
end
if tonumber(field('attempts')) - tonumber(field('hand_backs')) >= tonumber(ARGV[3]) then
  close('failed', ARGV[4])
  return 'failed'
end
back_to_queue()
return 'queued'
"""
)

MISSING = (
    _PRELUDE
    + """
-- ARGV: config, grace seconds. For a queued job that RQ does not know: returns push when it
-- has been missing for the grace, else wait | gone.
if field('status') ~= 'queued' then
  redis.call('ZREM', key('queued'), c.id)
  return 'gone'
end
local since = field('missing_since')
if not since then
  redis.call('HSET', job, 'missing_since', now)
  return 'wait'
end
if tonumber(now) - tonumber(since) < tonumber(ARGV[2]) then return 'wait' end
redis.call('HDEL', job, 'missing_since')
return 'push'
"""
)
