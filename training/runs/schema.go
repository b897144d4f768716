// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// migrations are applied in order, each once; the log's version is how many were. The
// words in capitals with a dollar differ by database.
var migrations = [][]string{{
	`CREATE TABLE runs (
		n $KEY,
		id TEXT NOT NULL UNIQUE,
		experiment TEXT NOT NULL,
		name TEXT NOT NULL,
		status TEXT NOT NULL,
		started BIGINT NOT NULL,
		ended BIGINT NOT NULL,
		parent TEXT NOT NULL,
		method TEXT NOT NULL,
		seed BIGINT NOT NULL,
		data_hash TEXT NOT NULL,
		code_hash TEXT NOT NULL,
		git_commit TEXT NOT NULL,
		artifact_path TEXT NOT NULL,
		artifact_digest TEXT NOT NULL,
		error TEXT NOT NULL,
		owner TEXT NOT NULL,
		heartbeat BIGINT NOT NULL,
		parameters TEXT NOT NULL,
		metrics TEXT NOT NULL,
		tags TEXT NOT NULL,
		versions TEXT NOT NULL)`,
	`CREATE INDEX runs_experiment ON runs (experiment, id)`,
	`CREATE INDEX runs_parent ON runs (parent, id) WHERE parent <> ''`,
	`CREATE INDEX runs_status ON runs (status, id)`,
	`CREATE TABLE facts (
		run BIGINT NOT NULL,
		name TEXT NOT NULL,
		number DOUBLE PRECISION,
		text TEXT,
		PRIMARY KEY (run, name)) $CLUSTERED`,
	`CREATE INDEX facts_number ON facts (name, number, run) WHERE number IS NOT NULL`,
	`CREATE INDEX facts_text ON facts (name, text, run) WHERE text IS NOT NULL`,
	`CREATE TABLE curves (
		run BIGINT NOT NULL,
		metric TEXT NOT NULL,
		step BIGINT NOT NULL,
		value DOUBLE PRECISION,
		PRIMARY KEY (run, metric, step)) $CLUSTERED`,
	`CREATE TABLE manifests (run BIGINT NOT NULL PRIMARY KEY, document TEXT NOT NULL)`,
}}

// dialect is where the databases differ.
type dialect struct {
	words      *strings.Replacer
	version    string
	setVersion string
	lock       string // what keeps other writers out of a migration
}

var (
	sqliteDialect = dialect{
		words:      strings.NewReplacer("$KEY", "INTEGER PRIMARY KEY AUTOINCREMENT", "$CLUSTERED", "WITHOUT ROWID"),
		version:    `PRAGMA user_version`,
		setVersion: `PRAGMA user_version = %d`,
	}
	postgresDialect = dialect{
		words:      strings.NewReplacer("$KEY", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "$CLUSTERED", ""),
		version:    `SELECT coalesce(max(version), 0) FROM versions`,
		setVersion: `INSERT INTO versions VALUES (%d)`,
		lock:       `SELECT pg_advisory_xact_lock(7310035)`,
	}
)

// migrate brings the tables to the newest version. Of several processes one does it.
func (s *store) migrate(ctx context.Context, d *dialect) error {
	return s.transact(ctx, func(tx executor) error {
		if d.lock != "" {
			if _, err := tx.exec(ctx, d.lock); err != nil {
				return err
			}
		}
		var version int
		if err := tx.each(ctx, func(row scanner) error { return row.Scan(&version) }, d.version); err != nil {
			return err
		}
		if version > len(migrations) {
			return fmt.Errorf("%w: it has version %d and this program knows %d; use the newer program", ErrVersion, version, len(migrations))
		}
		for ; version < len(migrations); version++ {
			statements := append(slices.Clone(migrations[version]), fmt.Sprintf(d.setVersion, version+1))
			for _, statement := range statements {
				if _, err := tx.exec(ctx, d.words.Replace(statement)); err != nil {
					return fmt.Errorf("to version %d: %w", version+1, err)
				}
			}
		}
		return nil
	})
}
