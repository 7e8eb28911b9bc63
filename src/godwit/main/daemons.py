"""`godwit manager` and `godwit agent`: the two daemons, from their configuration files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from godwit.cli.examples import example
from godwit.main.config import read_config
from godwit.telemetry import log

manager_app = typer.Typer()
agent_app = typer.Typer()

ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="Its TOML file.")]


@manager_app.command("manager", epilog=example("godwit manager --config /etc/godwit/manager.toml"))
def manager(config: ConfigOption = Path("/etc/godwit/manager.toml")) -> None:
    """Run the manager until SIGTERM."""
    from godwit.core.config import ManagerConfig
    from godwit.main.manager import run

    read = read_config(config, ManagerConfig)
    log.set_up()
    asyncio.run(run(read))


@agent_app.command("agent", epilog=example("godwit agent --config /etc/godwit/agent.toml"))
def agent(config: ConfigOption = Path("/etc/godwit/agent.toml")) -> None:
    """Run this host's agent until SIGTERM."""
    from godwit.core.config import AgentConfig
    from godwit.main.agent import run

    read = read_config(config, AgentConfig)
    log.set_up()
    asyncio.run(run(read))
