// A slider fires faster than pictures can come back: one request runs, only the newest waits.

export class Latest {
  #action;
  #failed;
  #running = null;
  #again = false;

  constructor(action, failed) {
    this.#action = action;
    this.#failed = failed;
  }

  /** Ask for a run that starts after now; it may serve several requests at once. */
  request() {
    this.#again = true;
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run() {
    try {
      while (this.#again) {
        this.#again = false;
        await this.#action();
      }
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#running = null;
    }
  }
}
