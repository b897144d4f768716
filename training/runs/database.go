// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// scanner is a row.
type scanner interface{ Scan(to ...any) error }

// executor runs statements, whose parameters are question marks.
type executor interface {
	// exec says how many rows it changed.
	exec(ctx context.Context, statement string, values ...any) (int64, error)
	// each calls a function for each row of the answer, which must not use the database.
	each(ctx context.Context, f func(scanner) error, statement string, values ...any) error
}

// database is what the log needs of one.
type database interface {
	each(ctx context.Context, f func(scanner) error, statement string, values ...any) error
	// transact runs a function in a transaction, which is durable if there is no error.
	transact(ctx context.Context, f func(executor) error) error
	close() error
}

// sqlite is a file. One connection writes; others read beside it, as the write-ahead log
// lets them.
type sqlite struct{ writer, reader *sql.DB }

const readersMax = 4

func openSQLite(ctx context.Context, path string) (Store, error) {
	if path == "" {
		return nil, errors.New("log of runs: the path is empty")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("log of runs: %w", err)
	}
	open := func(connections int, more ...string) (*sql.DB, error) {
		pragmas := append([]string{"busy_timeout(20000)", "journal_mode(WAL)", "synchronous(NORMAL)", "cache_size(-32000)"}, more...)
		v := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
		db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+v.Encode())
		if err == nil {
			db.SetMaxOpenConns(connections)
			db.SetMaxIdleConns(connections)
		}
		return db, err
	}
	writer, err := open(1)
	if err != nil {
		return nil, fmt.Errorf("log of runs %s: %w", path, err)
	}
	reader, err := open(readersMax, "query_only(1)")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("log of runs %s: %w", path, err), writer.Close())
	}
	s := &store{path, sqlite{writer, reader}}
	if err := s.migrate(ctx, &sqliteDialect); err != nil {
		return nil, errors.Join(fmt.Errorf("log of runs %s: %w", path, err), s.Close())
	}
	return s, nil
}

func (d sqlite) close() error { return errors.Join(d.reader.Close(), d.writer.Close()) }

func (d sqlite) each(ctx context.Context, f func(scanner) error, statement string, values ...any) error {
	rows, err := d.reader.QueryContext(ctx, statement, values...)
	return eachSQL(rows, err, f)
}

func eachSQL(rows *sql.Rows, err error, f func(scanner) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (d sqlite) transact(ctx context.Context, f func(executor) error) error {
	tx, err := d.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(sqliteTx{tx}); err != nil {
		_ = tx.Rollback() // the first error says more
		return err
	}
	return tx.Commit()
}

type sqliteTx struct{ tx *sql.Tx }

func (t sqliteTx) exec(ctx context.Context, statement string, values ...any) (int64, error) {
	result, err := t.tx.ExecContext(ctx, statement, values...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (t sqliteTx) each(ctx context.Context, f func(scanner) error, statement string, values ...any) error {
	rows, err := t.tx.QueryContext(ctx, statement, values...)
	return eachSQL(rows, err, f)
}

// postgres is a schema of a server, over one connection that is made again when it broke.
type postgres struct {
	config *pgx.ConnConfig
	mu     sync.Mutex
	conn   *pgx.Conn
}

func openPostgres(ctx context.Context, address string) (Store, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		// The parser's error repeats the URL, which may hold a password.
		return nil, errors.New("log of runs: the postgres URL cannot be read; it has the form postgres://USER:PASSWORD@HOST:PORT/DATABASE")
	}
	config.RuntimeParams["search_path"] = "millrace"
	place := fmt.Sprintf("postgres %s:%d/%s", config.Host, config.Port, config.Database)
	s := &store{place, &postgres{config: config}}
	err = s.transact(ctx, func(tx executor) error {
		// Two that make a schema at once would both find none.
		for _, statement := range []string{postgresDialect.lock, `CREATE SCHEMA IF NOT EXISTS millrace`, `CREATE TABLE IF NOT EXISTS versions (version BIGINT PRIMARY KEY)`} {
			if _, err := tx.exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = s.migrate(ctx, &postgresDialect)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("log of runs %s: %w", place, err), s.Close())
	}
	return s, nil
}

func (d *postgres) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return nil
	}
	return d.conn.Close(context.Background())
}

// connectLocked gives the connection. d.mu must be held.
func (d *postgres) connectLocked(ctx context.Context) (*pgx.Conn, error) {
	if d.conn != nil && !d.conn.IsClosed() {
		return d.conn, nil
	}
	conn, err := pgx.ConnectConfig(ctx, d.config)
	if err == nil {
		d.conn = conn
	}
	return conn, err
}

func (d *postgres) each(ctx context.Context, f func(scanner) error, statement string, values ...any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	conn, err := d.connectLocked(ctx)
	if err != nil {
		return err
	}
	rows, err := conn.Query(ctx, numbered(statement), values...)
	return eachPostgres(rows, err, f)
}

func eachPostgres(rows pgx.Rows, err error, f func(scanner) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (d *postgres) transact(ctx context.Context, f func(executor) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	conn, err := d.connectLocked(ctx)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return f(postgresTx{tx}) })
}

type postgresTx struct{ tx pgx.Tx }

func (t postgresTx) exec(ctx context.Context, statement string, values ...any) (int64, error) {
	tag, err := t.tx.Exec(ctx, numbered(statement), values...)
	return tag.RowsAffected(), err
}

func (t postgresTx) each(ctx context.Context, f func(scanner) error, statement string, values ...any) error {
	rows, err := t.tx.Query(ctx, numbered(statement), values...)
	return eachPostgres(rows, err, f)
}

// numbered turns question marks into $1, $2, .... No statement has one in a literal.
func numbered(statement string) string {
	var b strings.Builder
	n := 0
	for _, c := range statement {
		if c != '?' {
			b.WriteRune(c)
			continue
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
	return b.String()
}
