"""What the programs that measure say is read as it is meant."""

import json

import pytest

from benchmarks.isolation.measures import PLACES, all_measures, fio, iperf, small_files, stress, udp_latency


def test_a_random_read_gives_operations_and_latency() -> None:
    said = {"jobs": [{"read": {"iops": 1200.5, "bw_bytes": 1, "clat_ns": {"percentile": {"99.000000": 250_000}}}}]}
    [measure] = [one for one in fio("rootfs") if one.name == "fio_rootfs_randread"]
    # fio warns on its standard output before the JSON.
    assert measure.read("note: something\n" + json.dumps(said)) == {
        "fio_rootfs_randread_iops": 1200.5,
        "fio_rootfs_randread_p99_us": 250.0,
    }


def test_a_sequential_write_gives_bandwidth() -> None:
    [measure] = [one for one in fio("shared") if one.name == "fio_shared_write"]
    assert measure.read(json.dumps({"jobs": [{"write": {"bw_bytes": 3 * 2**20}}]})) == {"fio_shared_write_mib_s": 3.0}


def test_tcp_counts_what_arrived_and_udp_what_did_not() -> None:
    out, _, udp = iperf()
    assert out.read(json.dumps({"end": {"sum_received": {"bits_per_second": 2e9}}})) == {"tcp_out_gbit_s": 2.0}
    end = {"packets": 1000, "seconds": 2, "lost_percent": 0.5, "jitter_ms": 0.01}
    assert udp.read(json.dumps({"end": {"sum": end}}))["udp_packets_s"] == 500


def test_a_round_trip_gives_what_95_of_100_took() -> None:
    said = json.dumps({"round_trips": 10, "p50_us": 70.0, "p95_us": 120.0, "lost_percent": 0})
    assert udp_latency().read(said) == {"udp_round_trip_p50_us": 70.0, "udp_round_trip_p95_us": 120.0}


def test_a_stressor_without_a_rate_is_an_error_and_no_zero() -> None:
    measure = stress()[0]
    assert measure.read("      bogo-ops-per-second-real-time: 321.5\n") == {"stress_matrix_ops_s": 321.5}
    with pytest.raises(ValueError, match="no rate"):
        measure.read("metrics:\n")


def test_whoever_asks_for_a_server_has_one() -> None:
    for measure in all_measures():
        assert ("SERVER" in measure.command(1)) == bool(measure.server)


def test_files_are_measured_on_root_on_a_volume_and_in_a_shared_folder() -> None:
    commands = [" ".join(measure.command(1)) for place in PLACES for measure in (*fio(place), small_files(place))]
    for folder in ("/measured", "/volume", "/shared"):
        assert sum(folder in command for command in commands) == 5
