// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// postgresFolder is where the server's programs are, or why they cannot be run.
func postgresFolder() (folder, why string) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err.Error()
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	for i := len(found) - 1; i >= 0; i-- {
		folder := filepath.Dir(found[i])
		if _, err := os.Stat(filepath.Join(folder, "postgres")); err == nil {
			return folder, ""
		}
	}
	return "", "no PostgreSQL server on this machine"
}

// startPostgres starts a server of our own that listens on a socket in a folder, and
// returns a connection string.
func startPostgres(t *testing.T) string {
	t.Helper()
	programs, why := postgresFolder()
	if why != "" {
		t.Skip(why)
	}
	dir, err := os.MkdirTemp("", "pg") // the name of a socket must be short
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // the server may still have held it
	run := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(programs, name), args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
		unprivileged(t, cmd, dir)
		return cmd
	}
	password := filepath.Join(dir, "password")
	must(t, os.WriteFile(password, []byte(secret+"\n"), 0o644))
	if out, err := run("initdb", "-D", filepath.Join(dir, "data"), "-U", "reader", "--no-sync", "-E", "UTF8", "-A", "scram-sha-256", "--pwfile", password).CombinedOutput(); err != nil {
		t.Skipf("no database can be made here: %v: %s", err, out)
	}
	server := run("postgres", "-D", filepath.Join(dir, "data"), "-k", dir, "-c", "listen_addresses=", "-F", "-c", "shared_buffers=8MB", "-c", "max_connections=50") // those that were closed end a little later
	var log bytes.Buffer
	server.Stderr = &log
	must(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt) // it may have ended
		_ = server.Wait()                       // by that signal
	})
	u := url.URL{Scheme: "postgres", User: url.UserPassword("reader", secret), Path: "/postgres", RawQuery: url.Values{"host": {dir}}.Encode()}
	address := u.String()
	for deadline := time.Now().Add(time.Minute); ; {
		conn, err := pgx.Connect(t.Context(), address)
		if err == nil {
			must(t, conn.Close(t.Context()))
			return address
		}
		var refused *pgconn.PgError // others come while it starts
		if time.Now().After(deadline) || errors.As(err, &refused) && !strings.HasPrefix(refused.Code, "57P") {
			t.Fatalf("the server does not answer: %v\n%s", err, log.String())
		}
		<-time.After(20 * time.Millisecond) // it says on no channel when it is ready
	}
}

const secret = "correct horse"

func execute(t *testing.T, address, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	must(t, err)
	_, err = conn.Exec(t.Context(), sql)
	must(t, err)
	must(t, conn.Close(t.Context()))
}

func TestPostgreSQL(t *testing.T) {
	address := startPostgres(t)
	execute(t, address, `
		create type channel as enum ('web', 'pos', 'fax');
		create table payments (n int, id varchar(20), at timestamptz, customer int4, amount numeric(12,2), channel channel, fraud bool);
		insert into payments select i, 'id' || i, '2024-01-02 00:00:00+00'::timestamptz + i * interval '1.5 seconds', case when i % 5 > 0 then i end, i / 4.0,
			case when i % 3 > 0 then (array['web', 'pos'])[1 + i % 2]::channel end, i % 2 = 0 from generate_series(1, 3000) i`)
	query := func(sql string, o ...func(*definition.Input)) *definition.Source {
		in := definition.Input{Format: definition.PostgreSQL, URL: address, Query: sql}
		for _, f := range o {
			f(&in)
		}
		return payments(in)
	}
	atIsTime := func(in *definition.Input) { in.Columns = map[string]string{"time": "at"} }
	var want []string
	for i := 1; i <= 3000; i++ {
		channel, customer := "null", fmt.Sprint(i)
		if i%3 > 0 {
			channel = []string{"web", "pos"}[i%2]
		}
		if i%5 == 0 {
			customer = "null"
		}
		amount := math.Floor(float64(i)*25+0.5) / 100 // numeric rounds half away from zero
		want = append(want, fmt.Sprintf("id%d %d %s %v %s %d", i, 1704153600000000+int64(i)*1_500_000, customer, amount, channel, 1-i%2))
	}

	all := query("select *, amount::float8 as unused from payments order by n", atIsTime)
	t.Run("rows", func(t *testing.T) {
		for _, o := range []Options{{}, {BatchRows: 1000}, {BatchRows: 7, Parallel: 2}} {
			got, r := readAll(t, all, o)
			same(t, fmt.Sprintf("%+v", o.BatchRows), got, want)
			if r.Progress() != -1 || r.RowsTotal() != -1 || r.Size() != -1 {
				t.Error("it knows how much there is")
			}
		}
		same(t, "parallel", parallel(t, all, Options{BatchRows: 100}, 3), want)
	})
	t.Run("types", func(t *testing.T) {
		got, r, err := tryAll(t, query(`select uuid '00000000-0000-0000-0000-000000000001' as id, timestamp '2024-01-02 03:04:05.5' as time, 7::int2 as customer, 'NaN'::float4 as amount, null::text as channel, null::bool as fraud
			union all select '00000000-0000-0000-0000-000000000002', 'infinity', 8, 1, 'web', true
			union all select null, '2024-01-02', 8, 1, 'web', true
			union all select '00000000-0000-0000-0000-000000000003', '2024-01-02', 8, 'Infinity', 'web', true
			union all select '00000000-0000-0000-0000-000000000004', '1969-01-02', 8, 1, 'web', true
			union all select '00000000-0000-0000-0000-000000000005', '2024-01-02', 8, 1, 'fax', true
			union all select '00000000-0000-0000-0000-000000000006', '2024-01-02', 8, 0.25, 'atm', false`), Options{BadRowsMax: -1})
		must(t, err)
		same(t, "good rows", got, []string{"00000000-0000-0000-0000-000000000006 1704153600000000 8 0.25 atm 0"})
		var faults []string
		for _, bad := range r.Bad() {
			faults = append(faults, fmt.Sprint(bad.Row, " ", bad.Field))
		}
		same(t, "bad rows", faults, []string{"1 amount", "2 time", "3 id", "4 amount", "5 time", "6 channel"})

		epoch := query("select 'a' as id, 1704164645.25::numeric as s, 1 as amount", func(in *definition.Input) {
			in.Columns = map[string]string{"time": "unix_s(s)", "customer": "-", "channel": "-", "fraud": "-"}
		})
		got, _ = readAll(t, epoch, Options{})
		same(t, "epoch", got, []string{"a 1704164645250000 null 1 null null"})
	})
	t.Run("faults", func(t *testing.T) {
		for _, c := range []struct {
			source *definition.Source
			kind   error
			says   []string
		}{
			{query("select * frm payments"), ErrInput, []string{"syntax error", "at character 10", dirOf(address)}},
			{query("select * from nothing"), ErrInput, []string{"nothing"}},
			{query("select * from payments"), ErrInput, []string{`field time: no column "time"`, `"at"`}},
			{query("select id, at as time, customer::text, amount, channel, fraud from payments"), ErrInput, []string{`field customer is int64, and column "customer" is text`, "cast it"}},
			{query("select id, id, at as time from payments"), ErrInput, []string{"twice"}},
			{query("insert into payments (n) values (0) returning *", atIsTime), ErrInput, []string{"read-only"}},
		} {
			_, _, err := tryAll(t, c.source, Options{})
			expectError(t, err, c.kind, c.says...)
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Error("the password is shown:", err)
			}
		}
	})
	t.Run("time-out", func(t *testing.T) {
		slow := query("select 'a' as id, now() as time, 1 as customer, 1 as amount, 'web' as channel, true as fraud from pg_sleep(60)")
		_, _, err := tryAll(t, slow, Options{StatementTimeout: 20 * time.Millisecond})
		expectError(t, err, ErrConnect, "time-out")
	})
	t.Run("close early", func(t *testing.T) {
		r, err := Open(t.Context(), query("select * from payments, generate_series(1, 10000)", atIsTime), Options{BatchRows: 10})
		must(t, err)
		var b column.Batch
		if more, err := r.Next(&b); !more || err != nil {
			t.Fatal(more, err)
		}
		must(t, r.Close())
	})
	t.Run("hash", func(t *testing.T) {
		one, size, err := Hash(t.Context(), all, 0)
		must(t, err)
		again, _, err := Hash(t.Context(), all, 0)
		must(t, err)
		execute(t, address, "update payments set amount = 0 where n = 3000")
		other, _, err := Hash(t.Context(), all, 0)
		must(t, err)
		if one != again || one == other || size == 0 {
			t.Errorf("%x, again %x, after a change %x, of %d bytes", one, again, other, size)
		}
	})
}

func dirOf(address string) string {
	u, _ := url.Parse(address) // it was made here
	return u.Query().Get("host")
}

func TestDatabaseThatIsNotThere(t *testing.T) {
	s := payments(definition.Input{Format: definition.PostgreSQL, URL: "postgres://reader:hunter2@127.0.0.1:1/shop", Query: "select 1"})
	_, _, err := tryAll(t, s, Options{ConnectTimeout: 5 * time.Second})
	expectError(t, err, ErrConnect, "postgres 127.0.0.1:1/shop")
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the password is shown:", err)
	}
	for _, address := range []string{"postgres://reader:hun%ter2@host/shop", "postgres://reader:hunter2@host:port/shop", "host=a password=hunter2 port=x", "postgres://reader:hunter2@host/shop?sslmode=hunter2"} {
		s.Inputs[0].URL = address
		if _, err = Open(t.Context(), s, Options{}); err == nil {
			t.Errorf("%q is taken", address)
			continue
		}
		expectError(t, err, ErrInput, "url")
		if strings.Contains(err.Error(), "ter2") {
			t.Error("the password is shown:", err)
		}
	}
	s.Inputs[0].Unset = []string{"SHOP_URL"}
	_, err = Open(t.Context(), s, Options{})
	expectError(t, err, ErrInput, "the environment has no SHOP_URL")
}
