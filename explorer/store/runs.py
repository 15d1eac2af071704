"""Queries about runs and methods: what made the scores, what it cost, what a run found about itself."""

from __future__ import annotations

from typing import Any

from explorer.store.database import Database
from explorer.store.records import Agreement, Controls, Diagnostic, MethodRecord, RunRecord, SkippedMethod


class RunReader:
    """Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read_latest(self) -> RunRecord:
        """The run that published this store, run 1; further ones are of models tuned from its model."""
        sql = (
            "SELECT model_sha256, commit_hash, device, duration_s, started_at, config_toml, versions_json FROM runs"
            " ORDER BY run_id LIMIT 1"
        )
        return RunRecord(*self._database.fetch_rows(sql)[0])

    def list_methods(self) -> list[MethodRecord]:
        """Every method, by id."""
        sql = (
            "SELECT method_id, name, label, description, has_moments, settings_json, cost_s, reliability FROM methods"
            " ORDER BY method_id"
        )
        return [MethodRecord(*row) for row in self._database.fetch_rows(sql)]

    def list_skipped(self) -> list[SkippedMethod]:
        """Methods that were asked for and could not run, and why; by label."""
        sql = "SELECT name, label, reason FROM skipped_methods ORDER BY label, name"
        return [SkippedMethod(*row) for row in self._database.fetch_rows(sql)]

    def read_settings(self, method_id: int) -> dict[str, Any]:
        """Read how the scores were made: settings (JSON text), versions (JSON text), config (its text), cost_s."""
        rows = self._database.fetch_rows(
            "SELECT settings_json, versions_json, config_toml, cost_s FROM methods JOIN runs USING (run_id)"
            " WHERE method_id = ?",
            method_id,
        )
        return dict(zip(("settings", "versions", "config", "cost_s"), rows[0], strict=True))

    def list_diagnostics(self, method_id: int) -> list[Diagnostic]:
        """List the figures that the run measured about this method, by name, then along training."""
        rows = self._database.fetch_rows(
            "SELECT checkpoint_step, name, value, meaning FROM diagnostics WHERE method_id = ?"
            " ORDER BY name, checkpoint_step",
            method_id,
        )
        return [Diagnostic(*row) for row in rows]

    def list_agreement(self) -> list[Agreement]:
        """List how far pairs of methods agree, over generated clips and training tracks; empty where not measured."""
        sql = "SELECT method_a, method_b, pearson, spearman, top10, top100 FROM agreement ORDER BY ALL"
        return [Agreement(*row) for row in self._database.fetch_rows(sql)]

    def read_evaluations(self) -> dict[str, str]:
        """Results that `python -m precompute evaluate` kept, as JSON text, by name."""
        return dict(self._database.fetch_rows("SELECT name, result_json FROM evaluations ORDER BY name"))

    def has_retraining(self) -> bool:
        """True where the store holds a result of training again without tracks."""
        sql = "SELECT count(*) FROM evaluations WHERE name ILIKE '%counterfactual%'"
        return bool(self._database.fetch_rows(sql)[0][0])

    def count_controls(self, method_id: int) -> Controls:
        """Count the controls that the method scored, and those that found their own track first."""
        row = self._database.fetch_rows(
            "SELECT count(*) FILTER (s.train_rank = 1), count(*) FROM scores s JOIN clips c USING (clip_id)"
            " WHERE s.method_id = ? AND c.kind = 'track' AND s.track_id = c.target_track_id",
            method_id,
        )[0]
        return Controls(*row)
