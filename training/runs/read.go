// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const runColumns = `r.n, r.id, r.experiment, r.name, r.status, r.started, r.ended, r.parent, r.method, r.seed, r.data_hash, r.code_hash, r.git_commit,
	r.artifact_path, r.artifact_digest, r.error, r.parameters, r.metrics, r.tags, r.versions`

func scanRun(row scanner) (*Run, int64, error) {
	var (
		r                                   Run
		n, started, ended, seed             int64
		parameters, metrics, tags, versions string
	)
	err := row.Scan(&n, &r.ID, &r.Experiment, &r.Name, &r.Status, &started, &ended, &r.Parent, &r.Method, &seed, &r.DataHash, &r.CodeHash, &r.GitCommit,
		&r.Artifact.Path, &r.Artifact.Digest, &r.Error, &parameters, &metrics, &tags, &versions)
	if err != nil {
		return nil, 0, err
	}
	r.Started, r.Seed = time.UnixMicro(started).UTC(), uint64(seed)
	if ended != 0 {
		r.Ended = time.UnixMicro(ended).UTC()
	}
	r.Parameters, err = parseParameters(parameters)
	err = errors.Join(err, json.Unmarshal([]byte(metrics), &r.Metrics), json.Unmarshal([]byte(tags), &r.Tags), json.Unmarshal([]byte(versions), &r.Versions))
	if err != nil {
		return nil, 0, fmt.Errorf("run %s: %w", r.ID, err)
	}
	return &r, n, nil
}

// parseParameters keeps whole numbers whole: they may have more digits than a float.
func parseParameters(text string) (map[string]any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var parameters map[string]any
	if err := d.Decode(&parameters); err != nil {
		return nil, err
	}
	for name, value := range parameters {
		number, ok := value.(json.Number)
		if !ok {
			continue
		}
		if whole, err := number.Int64(); err == nil {
			parameters[name] = whole
		} else if whole, err := strconv.ParseUint(number.String(), 10, 64); err == nil {
			parameters[name] = whole
		} else if parameters[name], err = number.Float64(); err != nil {
			return nil, err
		}
	}
	return parameters, nil
}

// reapMax bounds how many runs that seem to run are looked at in one reading.
const reapMax = 1000

// reap marks runs whose processes are gone.
func (s *store) reap(ctx context.Context) error {
	var dead []int64
	err := s.each(ctx, func(row scanner) error {
		var (
			n, heartbeat int64
			by           string
		)
		if err := row.Scan(&n, &by, &heartbeat); err != nil {
			return err
		}
		if isDead(by, time.Since(time.UnixMicro(heartbeat))) {
			dead = append(dead, n)
		}
		return nil
	}, `SELECT n, owner, heartbeat FROM runs WHERE status = 'running' ORDER BY heartbeat LIMIT ?`, reapMax)
	if err != nil || len(dead) == 0 {
		return err
	}
	return s.transact(ctx, func(tx executor) error {
		for _, n := range dead {
			if _, err := tx.exec(ctx, `UPDATE runs SET status = 'killed', ended = heartbeat WHERE n = ? AND status = 'running'`, n); err != nil {
				return err
			}
		}
		return nil
	})
}

// isDead judges a run by who writes it and how old its heartbeat is.
func isDead(by string, age time.Duration) bool {
	if o, ok := parseOwner(by); ok {
		if gone, known := o.gone(); known {
			return gone
		}
	}
	return age > HeartbeatAge
}

// List implements Store.
func (s *store) List(ctx context.Context, q Query) ([]Run, error) {
	if err := s.reap(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", s.place, err)
	}
	statement, values, err := s.statement(ctx, q)
	if err != nil {
		return nil, err
	}
	runs := []Run{}
	err = s.each(ctx, func(row scanner) error {
		r, _, err := scanRun(row)
		if err == nil {
			runs = append(runs, *r)
		}
		return err
	}, statement, values...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.place, err)
	}
	return runs, nil
}

// statement writes a query.
func (s *store) statement(ctx context.Context, q Query) (string, []any, error) {
	where, values, err := q.conditions()
	if err != nil {
		return "", nil, err
	}
	switch {
	case q.Limit < 0 || q.Limit > LimitMax:
		return "", nil, fmt.Errorf("%w: limit %d: 1 to %d", ErrQuery, q.Limit, LimitMax)
	case q.Limit == 0:
		q.Limit = LimitDefault
	}
	from, order, greater, direction := "runs r", "r.id", "<", "DESC"
	if q.Ascending {
		greater, direction = ">", "ASC"
	}
	var by string
	if q.OrderBy != "" {
		var ok bool
		if by, ok = factName(q.OrderBy); !ok || strings.HasPrefix(by, "tags.") {
			return "", nil, fmt.Errorf("%w: order by %q: it is metrics.NAME or params.NAME", ErrQuery, q.OrderBy)
		}
		from, order = "facts o JOIN runs r ON r.n = o.run", "o.number "+direction+", o.run"
		where = append([]string{"o.name = ?", "o.number IS NOT NULL"}, where...)
		values = append([]any{by}, values...)
	}
	if q.After != "" {
		n, number, err := s.cursor(ctx, q.After, by)
		if err != nil {
			return "", nil, err
		}
		if by == "" {
			where, values = append(where, "r.id "+greater+" ?"), append(values, strings.ToUpper(q.After))
		} else {
			where, values = append(where, "(o.number, o.run) "+greater+" (?, ?)"), append(values, number, n)
		}
	}
	statement := "SELECT " + runColumns + " FROM " + from
	if len(where) > 0 {
		statement += " WHERE " + strings.Join(where, " AND ")
	}
	return statement + " ORDER BY " + order + " " + direction + " LIMIT " + strconv.Itoa(q.Limit), values, nil
}

func (q *Query) conditions() (where []string, values []any, err error) {
	equal := func(column, value string) {
		if value != "" {
			where, values = append(where, "r."+column+" = ?"), append(values, value)
		}
	}
	equal("experiment", q.Experiment)
	equal("status", string(q.Status))
	equal("method", q.Method)
	equal("parent", q.Parent)
	switch q.Status {
	case "", Running, Finished, Failed, Killed:
	default:
		return nil, nil, fmt.Errorf("%w: no status %q: there are running, finished, failed and killed", ErrQuery, q.Status)
	}
	if q.Tag != "" {
		name, value, ok := strings.Cut(q.Tag, "=")
		condition := "r.n IN (SELECT run FROM facts WHERE name = ? AND text IS NOT NULL)"
		values = append(values, "tags."+name)
		if ok {
			condition = "r.n IN (SELECT run FROM facts WHERE name = ? AND text = ?)"
			values = append(values, value)
		}
		where = append(where, condition)
	}
	if strings.TrimSpace(q.Where) != "" {
		f, err := ParseFilter(q.Where)
		if err != nil {
			return nil, nil, err
		}
		where, values = append(where, f.sql), append(values, f.values...)
	}
	return where, values, nil
}

// cursor finds the last run of the page before.
func (s *store) cursor(ctx context.Context, id, by string) (n int64, number float64, err error) {
	found := false
	scan := func(to ...any) func(scanner) error {
		return func(row scanner) error { found = true; return row.Scan(to...) }
	}
	if by == "" {
		err = s.each(ctx, scan(&n), `SELECT n FROM runs WHERE id = ?`, strings.ToUpper(id))
	} else {
		err = s.each(ctx, scan(&n, &number), `SELECT r.n, f.number FROM runs r JOIN facts f ON f.run = r.n
			WHERE r.id = ? AND f.name = ? AND f.number IS NOT NULL`, strings.ToUpper(id), by)
	}
	if err == nil && !found {
		err = fmt.Errorf("%w: after %q: %w in this order", ErrQuery, id, ErrNotFound)
	}
	return n, number, err
}

// Get implements Store.
func (s *store) Get(ctx context.Context, id string) (*Run, error) {
	if err := s.reap(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", s.place, err)
	}
	r, n, err := s.find(ctx, strings.ToUpper(id))
	if err == nil {
		err = s.complete(ctx, r, n)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.place, err)
	}
	return r, nil
}

// find looks for an id, or the one that begins so. Only ids have letters and digits alone,
// so that a range stands for a prefix.
func (s *store) find(ctx context.Context, id string) (*Run, int64, error) {
	if id == "" || len(id) > idLength || strings.Trim(id, idAlphabet) != "" {
		return nil, 0, fmt.Errorf("run %q: %w: an id has up to %d digits and capitals", id, ErrNotFound, idLength)
	}
	var (
		found []*Run
		n     int64
	)
	err := s.each(ctx, func(row scanner) error {
		r, at, err := scanRun(row)
		found, n = append(found, r), at
		return err
	}, `SELECT `+runColumns+` FROM runs r WHERE r.id >= ? AND r.id <= ? ORDER BY r.id LIMIT 2`, id, id+strings.Repeat("Z", idLength-len(id)))
	switch {
	case err != nil:
		return nil, 0, err
	case len(found) == 0:
		return nil, 0, fmt.Errorf("run %q: %w", id, ErrNotFound)
	case len(found) > 1:
		return nil, 0, fmt.Errorf("run %q: several ids begin so: write more of it", id)
	}
	return found[0], n, nil
}

// complete adds what lists leave out.
func (s *store) complete(ctx context.Context, r *Run, n int64) error {
	err := s.each(ctx, func(row scanner) error {
		var manifest string
		err := row.Scan(&manifest)
		r.Manifest = json.RawMessage(manifest)
		return err
	}, `SELECT document FROM manifests WHERE run = ?`, n)
	if err != nil {
		return err
	}
	return s.each(ctx, func(row scanner) error {
		var (
			metric string
			step   int
			value  *float64
		)
		if err := row.Scan(&metric, &step, &value); err != nil {
			return err
		}
		if value == nil {
			value = new(math.NaN())
		}
		if r.Curves == nil {
			r.Curves = map[string][]Point{}
		}
		r.Curves[metric] = append(r.Curves[metric], Point{step, *value})
		return nil
	}, `SELECT metric, step, value FROM curves WHERE run = ? ORDER BY metric, step`, n)
}
