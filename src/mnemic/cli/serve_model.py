"""`mnemic serve-model`: a taught checkpoint behind an OpenAI-compatible server."""

from __future__ import annotations

import json
import socket
from typing import Any

import click

from mnemic.cli.listening import base_url, listening

__all__ = ["command"]


@click.command("serve-model", context_settings={"show_default": True})
@click.argument("checkpoint")
@click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for everybody.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="Port; 0 for any that is free.")
@click.option("--name", help="What clients call the model.  [default: the checkpoint's folder]")
@click.option("--max-batch", type=click.IntRange(1), default=16, help="Sequences that decode together, at most.")
@click.option(
    "--kv-budget",
    type=click.IntRange(2),
    default=65_536,
    help="Tokens whose keys may be held, at most; each sequence counts as long as the longest.",
)
@click.option("--max-waiting", type=click.IntRange(1), default=64, help="Requests that may wait.")
@click.option("--api-key", multiple=True, envvar="MNEMIC_API_KEY", help="Key that clients must send; may be repeated.")
@click.option("--device", default="auto", help="auto: a GPU where there is one.")
@click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto")
@click.option("--threads", type=click.IntRange(1), help="Threads of the CPU.  [default: torch's]")
@click.option("--force", is_flag=True, help="Evict although memento.json says the model never learned to do without.")
@click.option("--json", "as_json", is_flag=True, help="Print the address as JSON once it listens.")
def command(
    checkpoint: str,
    host: str,
    port: int,
    name: str | None,
    max_batch: int,
    kv_budget: int,
    max_waiting: int,
    api_key: tuple[str, ...],
    device: str,
    dtype: str,
    threads: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Serve CHECKPOINT to OpenAI's clients; what its mementos replace leaves the cache while it writes.

    \b
    mnemic serve-model runs/taught --port 8000
    curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \\
      -d '{"model": "taught", "messages": [{"role": "user", "content": "Hello"}]}'
    """
    import torch

    from mnemic.teaching.memento.engine import Engine
    from mnemic.teaching.memento.served_model import load_served_model
    from mnemic.teaching.memento.server import make_app, run_server

    with listening(host, port) as listener:
        if threads is not None:
            torch.set_num_threads(threads)
        served = load_served_model(checkpoint, name=name, device=device, dtype=dtype, force=force)
        about = served.about
        engine = Engine(
            served.model,
            served.tokenizer,
            end_ids=served.end_ids,
            markers=about.marker_ids if about is not None else None,
            rules=about.rules if about is not None else None,
            max_batch=max_batch,
            kv_budget=kv_budget,
            max_waiting=max_waiting,
        )
        engine.start()
        app = make_app(served, engine, api_keys=api_key)
        run_server(app, engine, listener, lambda: _announce(served, listener, kv_budget, as_json))


def _announce(served: Any, listener: socket.socket, kv_budget: int, as_json: bool) -> None:
    from mnemic.teaching.memento.measuring import kv_bytes_per_token

    url = f"{base_url(listener)}/v1"
    size = kv_budget * kv_bytes_per_token(served.model.config, served.model.dtype).per_token
    click.echo(f"{served.name}: {served.note}", err=True)
    click.echo(f"up to {kv_budget:,} tokens are held, {size / 1e9:.3g} GB of keys and values", err=True)
    click.echo(f"listening on {url} (Ctrl-C stops it)", err=True)
    if as_json:
        click.echo(json.dumps({"url": url, "model": served.name, "note": served.note}))
