from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.security import digest_of
from service.settings import ServiceSettings


def test_keys_come_from_a_variable_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [digest_of(key) for key in ("one", "two", "three")]
    file = tmp_path / "keys"
    file.write_text(f"# who\n{digests[2].upper()}  # three\n\n")
    monkeypatch.setenv("NI_API_KEYS", f"{digests[0]}, {digests[1]}")
    monkeypatch.setenv("NI_API_KEYS_FILE", str(file))
    assert list(ServiceSettings().key_digests()) == digests


def test_a_key_in_plain_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NI_API_KEYS", "secret")
    with pytest.raises(ValidationError, match="64 hexadecimal digits"):
        ServiceSettings()


def test_every_setting_says_what_it_does() -> None:
    for name, field in ServiceSettings.model_fields.items():
        assert field.description, name
