"""The script that makes the ladder of models runs, repeats itself and goes on where it was cut off."""

from __future__ import annotations

import json

from benchmarks import ladder


def test_a_run_that_was_cut_off_goes_on_where_it_was(tmp_path):
    journal, asked = tmp_path / "ladder.part", []

    def work():
        asked.append(1)
        return {"kl": 0.5, "cpu_seconds": 0.0}

    assert ladder.kept(journal, "one", work) == ladder.kept(journal, "one", work) == {"kl": 0.5, "cpu_seconds": 0.0}
    assert len(asked) == 1
    ladder.kept(journal, "another", work)
    assert len(asked) == 2


def test_a_small_ladder_runs_writes_its_file_and_repeats_itself(tmp_path):
    small = ladder.Settings(
        seeds=(3,), documents=12, tuning=4, test=6, few=6,
        ladder=(ladder.Counts("2-gram", 2), ladder.Mlp("MLP", 2, D=4, H=8, epochs=1, batch=64),
                ladder.Gpt("1-layer GPT", 1, D=16, H=2, epochs=1)),
        equal_context=(ladder.Counts("3-gram", 3), ladder.Mlp("MLP", 2, D=4, H=8, epochs=1, batch=64)),
    )
    rows = ladder.run(small, tmp_path / "results" / "ladder.json")
    assert [row.keys() for row in rows] == [{"what", "ours", "peer", "ratio"}] * 3
    assert not (tmp_path / "results" / "ladder.part").exists()
    first = json.loads((tmp_path / "results" / "ladder.json").read_text("utf-8"))
    again = ladder.climb(small, tmp_path / "other.part")
    for what in ("ladder", "equal_context"):
        for name, runs in again[what].items():
            assert [run["kl"] for run in runs] == [run["kl"] for run in first[what][name]]
            assert 0 < runs[0]["kl"] < 5
