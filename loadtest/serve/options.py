"""The options of `loadtest serve`, and the endpoint's settings and handler that follow from them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from loadtest.endpoint.settings import EndpointSettings
from loadtest.errors import UsageError
from loadtest.serve.worker_processes import Handler
from loadtest.units import seconds_text

MIN_IDLE_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class ServeOptions:
    """The command's options; None keeps the value of the config file, or the default."""

    host: str = "127.0.0.1"
    port: int = 8000
    endpoint_id: str = "local"
    config: Path | None = None
    seed: int = 1
    journal: Path | None = None
    active: int | None = None
    max_workers: int | None = None
    scaler: str | None = None
    idle_timeout: str | None = None
    handler: Path | None = None
    concurrency: int = 1
    logs: Path | None = None
    until_stdin_closes: bool = False


def endpoint_settings(options: ServeOptions) -> EndpointSettings:
    """Return the config file's settings, if any, with the options applied.

    Raises ScenarioError if a setting is invalid, UsageError if the idle timeout is too short for real workers.
    """
    from loadtest.scenario.loading.load import Override, load_settings

    overrides = (
        ("--active", ("workers", "active"), options.active),
        ("--max", ("workers", "max"), options.max_workers),
        ("--scaler", ("scaler",), options.scaler),
        ("--idle-timeout", ("idle_timeout",), options.idle_timeout),
    )
    changes = [Override(f"{name} {value}", path, value) for name, path, value in overrides if value is not None]
    settings = load_settings(options.config, changes)
    if options.handler is not None and settings.idle_timeout < MIN_IDLE_TIMEOUT_S:
        raise UsageError(
            f"--handler: an idle timeout of {seconds_text(settings.idle_timeout)} stops workers between two jobs, "
            f"since the vendor's SDK pauses a second before it takes the next; make it at least "
            f"{MIN_IDLE_TIMEOUT_S:g}s"
        )
    return settings


def worker_handler(options: ServeOptions) -> Handler | None:
    """Return the handler that workers run, and a folder for their logs; None if workers are simulated.

    Raises UsageError if the file is missing, the SDK is not installed, or the folder cannot be made.
    """
    if options.handler is None:
        for option, given in (("--concurrency", options.concurrency > 1), ("--logs", options.logs is not None)):
            if given:
                raise UsageError(f"{option}: simulated workers have none; use it with --handler")
        return None
    if not options.handler.is_file():
        raise UsageError(f"--handler {options.handler}: no such file; name the file that holds the handler")
    if importlib.util.find_spec("runpod") is None:
        raise UsageError('--handler: the vendor\'s worker SDK is not installed; run: pip install "loadtest[handler]"')
    logs = options.logs or Path("reports", f"workers-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--logs {logs}: cannot be made: {error.strerror}; name another folder") from None
    return Handler(options.handler.resolve(), options.concurrency, logs.resolve())
