"""The benchmark goes on where it was ended, refuses what makes no sense, reports nothing that was not measured."""

import json
from pathlib import Path

import pytest

from benchmarks.isolation import run, sweep
from benchmarks.isolation.findings import GROUPS, sentences
from benchmarks.isolation.measures import Figures, all_measures
from benchmarks.isolation.page import Found, percentile, write_page
from benchmarks.isolation.queries import Data, figures
from benchmarks.isolation.samples import ByFigure, Key, Samples
from benchmarks.tpch_application import MARK
from emulation.yarn.errors import YarnEmulationError

CONDITIONS = {"flags": {"runsc": "--one"}, "limits": ("--memory", "1g")}


def keys(count: int) -> list[Key]:
    return [Key("micro", "2s", "runc", "start", number) for number in range(count)]


class TestResumption:
    def test_a_run_that_was_ended_measures_only_what_is_missing(self, tmp_path: Path) -> None:
        first, second, third = keys(3)

        def ended(key: Key) -> Figures:
            if key == second:
                raise KeyboardInterrupt
            return {"a": 1.0}

        with pytest.raises(KeyboardInterrupt):
            run.each(Samples.load(tmp_path / "state.json", CONDITIONS), [first, second, third], ended)
        again = Samples.load(tmp_path / "state.json", CONDITIONS)
        assert again.pending([first, second, third]) == [second, third]

    def test_a_measure_that_fails_is_noted_kept_out_and_tried_again(self, tmp_path: Path) -> None:
        first, second = keys(2)
        samples = Samples.load(tmp_path / "state.json", CONDITIONS)

        def fails_once(key: Key) -> Figures:
            if key == first and not samples.failures:
                raise YarnEmulationError("no server")
            return {"a": 2.0}

        run.each(samples, [first, second], fails_once)
        assert samples.failures == {str(first): "no server"}
        assert samples.by_figure("micro", "2s", ["runc"]) == {"a": {"runc": [2.0]}}
        again = Samples.load(tmp_path / "state.json", CONDITIONS)
        assert again.pending([first, second]) == [first]

    def test_samples_of_other_flags_or_a_broken_file_are_not_used(self, tmp_path: Path) -> None:
        path = tmp_path / "state.json"
        Samples.load(path, CONDITIONS).add(keys(1)[0], {"a": 1.0})
        assert not Samples.load(path, CONDITIONS).forgotten
        other = Samples.load(path, {**CONDITIONS, "flags": {"runsc": "--two"}})
        assert other.forgotten
        assert not other.done
        path.write_text(path.read_text(encoding="utf-8")[:20], encoding="utf-8")
        assert "cannot be read" in str(Samples.load(path, CONDITIONS).forgotten)

    def test_samples_of_another_length_are_not_mixed_in(self, tmp_path: Path) -> None:
        samples = Samples.load(tmp_path / "state.json", CONDITIONS)
        for size, value in (("2s", 1.0), ("10s", 99.0)):
            samples.add(Key("micro", size, "runc", "start", 0), {"a": value})
        assert samples.by_figure("micro", "2s", ["runc", "runsc"]) == {"a": {"runc": [1.0], "runsc": []}}

    def test_every_key_is_there_once_and_reads_as_it_was_written(self) -> None:
        everything = [
            *(key for number in range(2) for key in run.micro_keys(["runc", "runsc"], run.QUICK, number)),
            *(key for number in range(2) for key in run.sweep_keys(list(sweep.SETTINGS), run.QUICK, number)),
            *run.tpch_keys(["runc", "runsc"], run.FULL),
        ]
        assert len(set(map(str, everything))) == len(everything)
        assert [Key.parse(str(key)) for key in everything] == everything


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--runtimes", "runc,kata"], "KVM"),
        (["--runtimes", "runc"], "two different ones"),
        (["--runtimes", "runc,runc"], "two different ones"),
        (["--runtimes", "runc,crun"], "crun"),
        (["--scale", "0"], "--scale"),
        (["--without", "tpch", "--without", "micro", "--without", "sweep"], "nothing to measure"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(arguments) == 2
    assert said in capsys.readouterr().err


class TestQueries:
    data = Data(Path(), {"q01": "", "q02": ""}, {"q01": [[1.0]], "q02": [["x"]]})

    def said(self, **rows: list[list[object]]) -> str:
        lines = [MARK + json.dumps({"query": name, "seconds": 2.5, "rows": found}) for name, found in rows.items()]
        return "\n".join(["kernel in this container: 4.4", *lines])

    def test_right_answers_count(self) -> None:
        found = figures(self.said(q01=[[1.0]], q02=[["x"]]), 30, self.data)
        assert found == {"q01_seconds": 2.5, "q02_seconds": 2.5, "all_queries_seconds": 5.0, "job_seconds": 30}

    def test_a_wrong_answer_is_no_figure(self) -> None:
        with pytest.raises(YarnEmulationError, match=r"q02 are not DuckDB's"):
            figures(self.said(q01=[[1.0]], q02=[["y"]]), 30, self.data)

    def test_nor_is_a_missing_one(self) -> None:
        with pytest.raises(YarnEmulationError, match="no answer to q02"):
            figures(self.said(q01=[[1.0]]), 30, self.data)


class TestSweep:
    @staticmethod
    def swept(**speeds: tuple[float, float, float]) -> ByFigure:
        """Setting → files a second, whether the host sees, whether the container sees."""
        figures = ("small_files_shared_files_s", "host_sees", "container_sees")
        return {
            figure: {name.replace("_", "-"): [values[place]] for name, values in speeds.items()}
            for place, figure in enumerate(figures)
        }

    def test_the_fastest_setting_that_hides_files_from_the_host_is_not_the_best(self) -> None:
        found = self.swept(
            runsc_as_it_comes=(100, 1, 1), runsc_overlay_in_memory=(150, 1, 1), runsc_overlay_everywhere=(900, 0, 1)
        )
        best = sweep.best(sweep.verdicts(found))
        assert best is not None
        assert best.flags == "--overlay2=root:memory"
        assert best.speed == pytest.approx(1.5)

    def test_one_sample_is_a_hint_and_no_reason_to_change_a_setting(self, tmp_path: Path) -> None:
        found = self.swept(runsc_as_it_comes=(100, 1, 1), runsc_overlay_in_memory=(150, 1, 1))
        write_page(tmp_path, Found(run.FLAGS, 2, 0.01, {}, {}, found, run.FLAGS["runsc"]))
        assert "1 sample of each figure that is a hint" in (tmp_path / "isolation.md").read_text(encoding="utf-8")

    def test_noise_is_no_reason_to_leave_the_defaults(self) -> None:
        found = self.swept(runsc_as_it_comes=(100, 1, 1), runsc_without_overlay=(105, 1, 1))
        best = sweep.best(sweep.verdicts(found))
        assert best is not None
        assert best.runtime == sweep.BASELINE

    def test_a_flag_that_this_runsc_does_not_know_is_said_and_not_tried(self) -> None:
        fit, missing = sweep.possible({"platform", "ignore-cgroups", "network", "overlay2"})
        assert set(fit) == {
            *(sweep.BASELINE, "runsc-overlay-in-memory", "runsc-without-overlay", "runsc-overlay-everywhere"),
        }
        assert "runsc-without-directfs: the installed runsc does not know --directfs=false" in missing

    def test_katas_settings_are_those_of_our_template(self) -> None:
        found = sweep.kata_settings()
        assert found["shared_fs"] == '"virtio-fs"'
        assert found["virtio_fs_cache"] == '"auto"'


class TestReport:
    micro: ByFigure = {
        "tcp_out_gbit_s": {"runc": [2.0, 4.0], "runsc": [1.0, 2.0]},
        "fio_shared_randread_p99_us": {"runc": [1.0], "runsc": []},
    }

    def test_it_names_flags_and_ratios_and_what_was_not_measured(self, tmp_path: Path) -> None:
        found = Found(run.FLAGS, 2, 0.01, self.micro, {}, {}, run.FLAGS["runsc"], ["load: 0.1"])
        write_page(tmp_path, found)
        text = (tmp_path / "isolation.md").read_text(encoding="utf-8")
        assert "| figure | runc (Docker 20.10's defaults) | runsc (--platform=systrap --ignore-cgroups" in text
        assert "| tcp_out_gbit_s | 3 (2 to 4) | 1.5 (1 to 2) | 0.50 |" in text
        assert "| fio_shared_randread_p99_us | 1 | not measured |  |" in text
        assert "## TPC-H in Spark on YARN\n\nNot measured." in text
        assert '| `virtio_fs_cache` | `"auto"` | not shown here |' in text
        assert "load: 0.1" in text
        assert (tmp_path / "isolation.png").stat().st_size > 5000
        assert "<table>" in (tmp_path / "isolation.html").read_text(encoding="utf-8")

    def test_queries_have_seconds_and_what_they_cost(self, tmp_path: Path) -> None:
        tpch: ByFigure = {
            name: {"runc": [10.0], "runsc": [20.0]} for name in ("q01_seconds", "all_queries_seconds", "job_seconds")
        }
        write_page(tmp_path, Found(run.FLAGS, 2, 0.01, {}, tpch, {}, run.FLAGS["runsc"]))
        text = (tmp_path / "isolation.md").read_text(encoding="utf-8")
        # 10 s of 0.096 USD an hour, a thousand times.
        assert "| q01 | 10 | 20 | 2.00 | 0.2667 | 0.5333 |" in text
        assert "the 22 queries took 2.00 times the seconds" in text
        assert (tmp_path / "isolation-tpch.png").exists()

    def test_words_say_when_samples_are_too_few_or_overlap(self) -> None:
        [said] = sentences({"tcp_out_gbit_s": {"runc": [2.0, 4.0], "runsc": [1.0, 3.0]}}, {}, ["runc", "runsc"])
        assert "a hint" in said
        [sure] = sentences({"tcp_out_gbit_s": {"runc": [2.0, 4.0], "runsc": [1.0, 1.5]}}, {}, ["runc", "runsc"])
        assert sure == "Network between containers: runsc is 2.4 times worse than runc."

    def test_every_measure_is_in_one_of_the_groups_that_words_speak_of(self) -> None:
        beginnings = [beginning for group in GROUPS.values() for beginning in group]
        for name in ("start_seconds", "idle_container_mib", *(measure.name for measure in all_measures())):
            assert sum(name.startswith(beginning) for beginning in beginnings) == 1, name

    def test_a_percentile_is_a_value_that_was_measured(self) -> None:
        values = [float(value) for value in range(1, 11)]
        assert [percentile(values, part) for part in (50, 90, 95)] == [5.0, 9.0, 10.0]
