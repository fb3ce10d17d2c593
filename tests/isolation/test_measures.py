"""What the programs that measure say is read as it is meant, and the report says under which flags."""

import json
from pathlib import Path

import pytest

from benchmarks.isolation.measures import all_measures, fio, iperf, stress
from benchmarks.isolation.page import write_page
from benchmarks.isolation.run import FLAGS, gathered, main


def test_a_random_read_gives_operations_and_latency() -> None:
    said = {"jobs": [{"read": {"iops": 1200.5, "bw_bytes": 1, "clat_ns": {"percentile": {"99.000000": 250_000}}}}]}
    [measure] = [one for one in fio("rootfs", "/x") if one.name == "fio_rootfs_randread"]
    # fio warns on its standard output before the JSON.
    assert measure.read("note: something\n" + json.dumps(said)) == {
        "fio_rootfs_randread_iops": 1200.5,
        "fio_rootfs_randread_p99_us": 250.0,
    }


def test_a_sequential_write_gives_bandwidth() -> None:
    [measure] = [one for one in fio("shared", "/x") if one.name == "fio_shared_write"]
    assert measure.read(json.dumps({"jobs": [{"write": {"bw_bytes": 3 * 2**20}}]})) == {"fio_shared_write_mib_s": 3.0}


def test_tcp_counts_what_arrived_and_udp_what_did_not() -> None:
    out, _, udp = iperf()
    assert out.read(json.dumps({"end": {"sum_received": {"bits_per_second": 2e9}}})) == {"tcp_out_gbit_s": 2.0}
    end = {"packets": 1000, "seconds": 2, "lost_percent": 0.5, "jitter_ms": 0.01}
    assert udp.read(json.dumps({"end": {"sum": end}}))["udp_packets_s"] == 500


def test_a_stressor_without_a_rate_is_an_error_and_no_zero() -> None:
    measure = stress()[0]
    assert measure.read("      bogo-ops-per-second-real-time: 321.5\n") == {"stress_matrix_ops_s": 321.5}
    with pytest.raises(ValueError, match="no rate"):
        measure.read("metrics:\n")


def test_the_container_without_a_network_server_never_asks_for_one() -> None:
    for measure in all_measures():
        assert ("SERVER" in measure.command(1)) == measure.needs_server


def test_samples_of_another_length_are_not_mixed_in() -> None:
    state = {"2s/runc/start/0": {"a": 1.0}, "2s/runc/start/1": {"a": 2.0}, "10s/runc/start/0": {"a": 99.0}}
    assert gathered(state, ["runc", "runsc"], 2) == {"a": {"runc": [1.0, 2.0], "runsc": []}}


def test_the_report_names_flags_ratios_and_load(tmp_path: Path) -> None:
    samples = {"tcp_out_gbit_s": {"runc": [2.0, 4.0], "runsc": [1.0, 2.0]}, "x_us": {"runc": [1.0], "runsc": []}}
    write_page(tmp_path, samples, FLAGS, 2, 2, "0.1 before")
    text = (tmp_path / "isolation.md").read_text(encoding="utf-8")
    assert "--ignore-cgroups" in text
    assert "| tcp_out_gbit_s | 3 (2 to 4) | 1.5 (1 to 2) | 0.50 |" in text
    assert "not measured" in text
    assert (tmp_path / "isolation.png").stat().st_size > 5000
    assert "<table>" in (tmp_path / "isolation.html").read_text(encoding="utf-8")


def test_runtimes_that_are_not_there_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runtimes", "runc,kata"]) == 2
    assert "kata" in capsys.readouterr().err
