"""`python -m emulation.nsm`: a simulated Nitro Security Module on a Unix socket, in the foreground until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from emulation.ending import Ending
from emulation.nsm.attestation_pki import SimulatedPki
from emulation.nsm.device import PCR_BYTES, Registers, SimulatedNsm
from emulation.nsm.socket_server import NsmServer
from spark_enclave_image import EifError, measure


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; 1 when the device cannot be started, 2 for wrong use."""
    options = _parser().parse_args(arguments)
    try:
        registers = _registers(options)
        pki = SimulatedPki.kept_in(options.state)
        nsm = SimulatedNsm(pki, registers, module_id=options.module_id)
        ended = Ending()
        with NsmServer(options.socket, nsm) as server:
            print("SIMULATED: documents of this device prove nothing about hardware.")
            print(f"device: {server.path}")
            print(f"module: {nsm.module_id}")
            print(f"root to trust explicitly: {options.state / 'root.pem'}", flush=True)
            ended.wait()
    except (EifError, OSError, ValueError) as error:
        print(f"The simulated NSM cannot start: {error}", file=sys.stderr)
        return 1
    return 0


def _registers(options: argparse.Namespace) -> Registers:
    if options.debug_mode:
        return Registers.debug_mode()
    if options.eif:
        measured = measure(options.eif)
        return Registers.measured(
            pcr0=measured.pcr0,
            pcr1=measured.pcr1,
            pcr2=measured.pcr2,
            pcr8=measured.pcr8,
            role_arn=options.role_arn,
            instance_id=options.instance_id,
        )
    given = dict(options.pcr)
    if not {0, 1, 2} <= given.keys():
        raise ValueError("an enclave that is not in debug mode has PCR0, PCR1 and PCR2; give all three, or --eif")
    identity = Registers.measured(
        pcr0=given[0], pcr1=given[1], pcr2=given[2], role_arn=options.role_arn, instance_id=options.instance_id
    )
    return Registers({**identity.values, **given})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulation.nsm",
        description="Serve a simulated Nitro Security Module on a Unix socket. What it signs proves nothing about "
        "hardware; a client trusts it only when it is given this simulation's root certificate explicitly.",
    )
    parser.add_argument("--socket", type=Path, required=True, help="path of the Unix socket, for this user only")
    parser.add_argument("--state", type=Path, required=True, help="folder of the simulated root, made if missing")
    parser.add_argument("--module-id", help="name of the enclave (default: a random one)")
    parser.add_argument("--role-arn", help="the instance's role, measured as PCR3")
    parser.add_argument("--instance-id", help="the instance's id, measured as PCR4")
    measured = parser.add_mutually_exclusive_group(required=True)
    measured.add_argument("--eif", type=Path, help="the image that the simulated enclave runs: PCR0, 1, 2 and 8")
    measured.add_argument(
        "--pcr", action="append", type=_pcr, default=[], metavar="N=HEX", help="a register's 48 bytes; repeat it"
    )
    measured.add_argument("--debug-mode", action="store_true", help="all registers zero, as in debug mode")
    return parser


def _pcr(text: str) -> tuple[int, bytes]:
    index, _, value = text.partition("=")
    try:
        number, content = int(index), bytes.fromhex(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not N=HEX") from None
    if len(content) != PCR_BYTES:
        raise argparse.ArgumentTypeError(f"PCR{number} has {len(content)} bytes, not {PCR_BYTES}")
    return number, content


if __name__ == "__main__":
    raise SystemExit(main())
