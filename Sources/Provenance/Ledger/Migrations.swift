// The tables, in the order in which versions of `study` brought them. A migration that has left the
// house is never edited; a change is a new one at the end.

internal import GRDB

enum Migrations {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1: runs, cells, metrics and what they need") { db in
            try db.execute(sql: tables)
            for trigger in seals { try db.execute(sql: trigger) }
        }
        migrator.registerMigration("2: artifacts taken from other runs") { db in
            try db.execute(sql: upstreams)
            for trigger in sealTriggers(["content_key", "upstream"]) {
                try db.execute(sql: trigger)
            }
        }
        migrator.registerMigration("3: the source of runs that came in a bundle") { db in
            try db.execute(sql: importedSource)
        }
        migrator.registerMigration("4: what bundles know of other runs") { db in
            try db.execute(sql: companions)
        }
        migrator.registerMigration("5: what marked cells leave to later ones") { db in
            try db.execute(sql: cellStates)
            for trigger in sealTriggers(["cell_state"]) { try db.execute(sql: trigger) }
        }
        migrator.registerMigration("6: the archives that a run left in or came in") { db in
            try db.execute(sql: bundles)
        }
        return migrator
    }

    /// The last one that brought what a bundle's rows hold. A later one that does not would only change the bytes of
    /// every bundle.
    static let lastOfBundles = "5: what marked cells leave to later ones"

    /// `run` in every table is `run.number`. Ordinals count from 0 in the order things happened.
    /// REAL columns would lose the sign of -0.0 (SQLite stores whole numbers as integers there), so
    /// values that must keep their bits are ANY; a NaN is NULL.
    private static let tables = """
        CREATE TABLE source (
            sha256 TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE run (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            study TEXT NOT NULL,
            title TEXT NOT NULL,
            source TEXT NOT NULL REFERENCES source(sha256),
            seed TEXT NOT NULL,
            tier TEXT NOT NULL,
            threads INTEGER NOT NULL,
            command TEXT NOT NULL,
            release TEXT NOT NULL,
            began INTEGER NOT NULL,
            commit_id TEXT, branch TEXT, remote TEXT, snapshot TEXT,
            replay_of TEXT,
            imported TEXT
        ) STRICT;
        CREATE INDEX run_by_began ON run(began);
        CREATE INDEX run_by_study ON run(study, began);

        CREATE TABLE process (
            run INTEGER PRIMARY KEY REFERENCES run(number),
            pid INTEGER NOT NULL, start_ticks INTEGER NOT NULL, boot_id TEXT NOT NULL,
            namespace TEXT NOT NULL, heartbeat INTEGER NOT NULL
        ) STRICT;

        CREATE TABLE parameter (
            run INTEGER NOT NULL REFERENCES run(number), ordinal INTEGER NOT NULL,
            name TEXT NOT NULL, type TEXT NOT NULL, value TEXT NOT NULL,
            PRIMARY KEY (run, ordinal)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE tolerance (
            run INTEGER NOT NULL REFERENCES run(number), ordinal INTEGER NOT NULL,
            metric TEXT NOT NULL, absolute ANY, relative ANY, ulps INTEGER, seeds INTEGER,
            PRIMARY KEY (run, ordinal)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE environment (
            run INTEGER NOT NULL REFERENCES run(number), ordinal INTEGER NOT NULL,
            name TEXT NOT NULL, value TEXT NOT NULL,
            PRIMARY KEY (run, ordinal)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE change (
            run INTEGER NOT NULL REFERENCES run(number), ordinal INTEGER NOT NULL,
            path TEXT NOT NULL, kind TEXT NOT NULL,
            PRIMARY KEY (run, ordinal)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE omission (
            run INTEGER NOT NULL REFERENCES run(number), ordinal INTEGER NOT NULL,
            path TEXT NOT NULL, size INTEGER NOT NULL, reason TEXT NOT NULL,
            PRIMARY KEY (run, ordinal)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE cell (
            run INTEGER NOT NULL REFERENCES run(number), cell INTEGER NOT NULL,
            id TEXT NOT NULL, first_line INTEGER NOT NULL, last_line INTEGER NOT NULL,
            sha256 TEXT NOT NULL, began INTEGER, ended INTEGER,
            state TEXT NOT NULL DEFAULT 'pending',
            PRIMARY KEY (run, cell)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE output (
            run INTEGER NOT NULL REFERENCES run(number), ordinal INTEGER NOT NULL,
            cell INTEGER NOT NULL, stream TEXT NOT NULL, bytes BLOB NOT NULL,
            PRIMARY KEY (run, ordinal)
        ) STRICT;

        CREATE TABLE series (
            id INTEGER PRIMARY KEY,
            run INTEGER NOT NULL REFERENCES run(number), cell INTEGER NOT NULL,
            name TEXT NOT NULL, arm TEXT NOT NULL,
            count INTEGER NOT NULL DEFAULT 0,
            last_step INTEGER, last_value ANY, minimum ANY, maximum ANY,
            sealed INTEGER NOT NULL DEFAULT 0,
            UNIQUE (run, cell, name, arm)
        ) STRICT;
        CREATE INDEX series_by_name ON series(name, run);

        CREATE TABLE point (
            series INTEGER NOT NULL REFERENCES series(id), ordinal INTEGER NOT NULL,
            step INTEGER NOT NULL, value ANY, time INTEGER NOT NULL,
            PRIMARY KEY (series, ordinal)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE proportion (
            series INTEGER NOT NULL REFERENCES series(id), ordinal INTEGER NOT NULL,
            count INTEGER NOT NULL, total INTEGER NOT NULL, judge TEXT NOT NULL,
            PRIMARY KEY (series, ordinal)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE claim (
            run INTEGER NOT NULL REFERENCES run(number), ordinal INTEGER NOT NULL,
            cell INTEGER NOT NULL, text TEXT NOT NULL, holds INTEGER NOT NULL, evidence TEXT NOT NULL,
            PRIMARY KEY (run, ordinal)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE inline_value (
            run INTEGER NOT NULL REFERENCES run(number), position INTEGER NOT NULL,
            text TEXT NOT NULL,
            PRIMARY KEY (run, position)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE artifact (
            run INTEGER NOT NULL REFERENCES run(number), ordinal INTEGER NOT NULL,
            cell INTEGER NOT NULL, name TEXT NOT NULL, media_type TEXT NOT NULL, kind TEXT NOT NULL,
            sha256 TEXT NOT NULL, size INTEGER NOT NULL, is_folder INTEGER NOT NULL,
            PRIMARY KEY (run, ordinal)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE artifact_file (
            run INTEGER NOT NULL REFERENCES run(number), artifact INTEGER NOT NULL,
            path TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
            is_executable INTEGER NOT NULL,
            PRIMARY KEY (run, artifact, path)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE figure (
            run INTEGER NOT NULL REFERENCES run(number), ordinal INTEGER NOT NULL,
            cell INTEGER NOT NULL, title TEXT NOT NULL, alternative_text TEXT NOT NULL,
            script TEXT NOT NULL, data TEXT NOT NULL,
            PRIMARY KEY (run, ordinal)
        ) STRICT;

        CREATE TABLE item (
            run INTEGER NOT NULL REFERENCES run(number), ordinal INTEGER NOT NULL,
            cell INTEGER NOT NULL, evaluation TEXT NOT NULL, arm TEXT NOT NULL,
            position INTEGER NOT NULL, prompt TEXT NOT NULL, answer TEXT NOT NULL,
            judge TEXT NOT NULL, label TEXT NOT NULL, restricted INTEGER NOT NULL,
            PRIMARY KEY (run, ordinal)
        ) STRICT;

        CREATE TABLE input (
            run INTEGER NOT NULL REFERENCES run(number), ordinal INTEGER NOT NULL,
            cell INTEGER NOT NULL, written TEXT NOT NULL, path TEXT NOT NULL, kind TEXT NOT NULL,
            sha256 TEXT NOT NULL, size INTEGER NOT NULL, is_folder INTEGER NOT NULL,
            tracking TEXT NOT NULL, is_stored INTEGER NOT NULL, changed TEXT,
            PRIMARY KEY (run, ordinal)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE input_file (
            run INTEGER NOT NULL REFERENCES run(number), input INTEGER NOT NULL,
            path TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
            PRIMARY KEY (run, input, path)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE stream (
            run INTEGER NOT NULL REFERENCES run(number), name TEXT NOT NULL, draws TEXT NOT NULL,
            PRIMARY KEY (run, name)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE digest (
            run INTEGER NOT NULL REFERENCES run(number), ordinal INTEGER NOT NULL,
            cell INTEGER NOT NULL, series TEXT NOT NULL, step INTEGER NOT NULL, digest TEXT NOT NULL,
            PRIMARY KEY (run, ordinal)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE failure (
            run INTEGER NOT NULL REFERENCES run(number), ordinal INTEGER NOT NULL,
            cell INTEGER NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL,
            line INTEGER NOT NULL, column_number INTEGER NOT NULL,
            PRIMARY KEY (run, ordinal)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE verdict (
            run INTEGER PRIMARY KEY REFERENCES run(number),
            original TEXT NOT NULL, rung TEXT NOT NULL, json TEXT NOT NULL
        ) STRICT;

        CREATE TABLE seal (
            run INTEGER PRIMARY KEY REFERENCES run(number),
            status TEXT NOT NULL CHECK (status IN ('succeeded', 'failed', 'interrupted', 'lost')),
            ended INTEGER NOT NULL, sha256 TEXT NOT NULL, headline TEXT NOT NULL
        ) STRICT;

        CREATE TABLE file_digest (
            device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL,
            modified INTEGER NOT NULL, changed INTEGER NOT NULL, sha256 TEXT NOT NULL,
            PRIMARY KEY (device, inode)
        ) STRICT, WITHOUT ROWID;
        """

    /// Not under the seal: what else was tried is no part of a run, and grows after its end. `patch` is how the tree
    /// differed from its commit, of runs whose repository is elsewhere.
    private static let companions = """
        CREATE TABLE companion (
            run INTEGER NOT NULL REFERENCES run(number), id TEXT NOT NULL, status TEXT NOT NULL,
            began INTEGER NOT NULL, ended INTEGER, seed TEXT NOT NULL, parameters TEXT NOT NULL,
            replay_of TEXT, rung TEXT, note TEXT NOT NULL,
            PRIMARY KEY (run, id)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE patch (
            run INTEGER NOT NULL PRIMARY KEY REFERENCES run(number), text TEXT NOT NULL
        ) STRICT;
        """

    /// The object holds the values; a garbage collection may take it, never the row.
    private static let cellStates = """
        CREATE TABLE cell_state (
            run INTEGER NOT NULL REFERENCES run(number), cell INTEGER NOT NULL,
            key TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
            PRIMARY KEY (run, cell)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX cell_state_by_key ON cell_state(key);
        """

    /// `producer` is a run's id, not its number: an imported run keeps its links where the producer stayed elsewhere.
    private static let upstreams = """
        CREATE TABLE content_key (
            run INTEGER NOT NULL PRIMARY KEY REFERENCES run(number), key TEXT NOT NULL
        ) STRICT;
        CREATE INDEX content_key_by_key ON content_key(key);

        CREATE TABLE upstream (
            run INTEGER NOT NULL REFERENCES run(number), ordinal INTEGER NOT NULL,
            name TEXT NOT NULL, study TEXT NOT NULL, artifact TEXT NOT NULL,
            producer TEXT NOT NULL, key TEXT NOT NULL, sha256 TEXT NOT NULL,
            is_folder INTEGER NOT NULL,
            PRIMARY KEY (run, ordinal)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX upstream_by_producer ON upstream(producer);
        """

    /// Not under the seal: a run leaves and arrives after its end.
    private static let bundles = """
        CREATE TABLE bundle (
            run INTEGER NOT NULL REFERENCES run(number), ordinal INTEGER NOT NULL,
            direction TEXT NOT NULL CHECK (direction IN ('exported', 'imported')),
            time INTEGER NOT NULL, path TEXT NOT NULL, format TEXT NOT NULL,
            is_thin INTEGER NOT NULL, is_anonymous INTEGER NOT NULL, is_signed INTEGER NOT NULL,
            tar_sha256 TEXT NOT NULL, bytes INTEGER NOT NULL,
            PRIMARY KEY (run, ordinal)
        ) STRICT, WITHOUT ROWID;
        """

    /// The tree that a run of another machine ran on, whose commit is in no repository here. No part of
    /// the record that the seal covers: the commit's id is.
    private static let importedSource = """
        CREATE TABLE source_file (
            run INTEGER NOT NULL REFERENCES run(number), path TEXT NOT NULL,
            sha256 TEXT NOT NULL, size INTEGER NOT NULL, is_executable INTEGER NOT NULL,
            PRIMARY KEY (run, path)
        ) STRICT, WITHOUT ROWID;
        """

    /// A sealed run is read-only, whoever holds the file. `process` is left out (its heartbeat is no
    /// part of the record), and `verdict` (it is written after the replay's own run is sealed).
    private static var seals: [String] {
        let byRun = [
            "parameter", "tolerance", "environment", "change", "omission", "cell", "output",
            "series",
            "claim", "inline_value", "artifact", "artifact_file", "figure", "item", "input",
            "input_file", "stream", "digest", "failure",
        ]
        var triggers = sealTriggers(byRun)
        func guardTable(_ table: String, _ event: String, _ row: String, _ condition: String) {
            triggers.append(trigger(table, event, condition))
        }
        for (event, row) in [("UPDATE", "OLD"), ("DELETE", "OLD")] {
            guardTable("run", event, row, "EXISTS (SELECT 1 FROM seal WHERE run = OLD.number)")
            guardTable("seal", event, row, "1")
        }
        // Points arrive by the hundred thousand: the flag in the series costs less than a look at `seal`.
        for table in ["point", "proportion"] {
            for (event, row) in [("INSERT", "NEW"), ("UPDATE", "OLD"), ("DELETE", "OLD")] {
                guardTable(
                    table, event, row, "(SELECT sealed FROM series WHERE id = \(row).series) <> 0")
            }
        }
        return triggers
    }

    /// For tables whose rows name their run.
    private static func sealTriggers(_ tables: [String]) -> [String] {
        tables.flatMap { table in
            [("INSERT", "NEW"), ("UPDATE", "OLD"), ("DELETE", "OLD")].map { event, row in
                trigger(table, event, "EXISTS (SELECT 1 FROM seal WHERE run = \(row).run)")
            }
        }
    }

    private static func trigger(_ table: String, _ event: String, _ condition: String) -> String {
        """
        CREATE TRIGGER \(table)_sealed_\(event.lowercased()) BEFORE \(event) ON \(table)
        WHEN \(condition)
        BEGIN SELECT RAISE(ABORT, 'this run is sealed: its \(table) rows are read-only'); END
        """
    }
}
