// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// query is an open PostgreSQL query, whose rows come as they are asked for. They are
// decoded where they are taken from the connection, by one goroutine.
type query struct {
	shape   *shape
	part    *part
	ctx     context.Context
	cancel  context.CancelFunc
	secret  string
	conn    *pgx.Conn
	rows    pgx.Rows
	bound   []binding
	missing []bool
	scan    []any
	most    int   // rows of a slice
	read    int64 // rows
}

// databaseName names a database without its password.
func databaseName(in *definition.Input) (string, error) {
	if len(in.Unset) > 0 {
		return "", fmt.Errorf("%w: url: the environment has no %s", ErrInput, strings.Join(in.Unset, ", "))
	}
	c, err := pgx.ParseConfig(in.URL)
	if err != nil {
		// The parser's error shows the text that it was given.
		return "", fmt.Errorf("%w: url: it is not a connection string such as postgres://user@host:5432/database%s", ErrInput, cause(err, in.URL))
	}
	return fmt.Sprintf("postgres %s:%d/%s", c.Host, c.Port, c.Database), nil
}

// cause is the reason that a connection string is refused, unless it shows part of it.
func cause(err error, text string) string {
	reason := errors.Unwrap(err)
	if reason == nil {
		return ""
	}
	var u *url.Error
	if errors.As(reason, &u) {
		reason = u.Err
	}
	for _, word := range strings.FieldsFunc(reason.Error(), func(r rune) bool { return strings.ContainsRune(" \"'`:;,", r) }) {
		if len(word) > 3 && strings.Contains(text, word) {
			return ""
		}
	}
	return ": " + reason.Error()
}

// closeTimeout is how long closing a connection may take.
const closeTimeout = 5 * time.Second

func openQuery(ctx context.Context, sh *shape, p *part, o *Options, rows int) (*query, error) {
	c, err := pgx.ParseConfig(p.in.URL)
	if err != nil {
		return nil, err // databaseName has looked before
	}
	c.ConnectTimeout = o.ConnectTimeout
	q := &query{shape: sh, part: p, secret: c.Password, most: rows}
	q.ctx, q.cancel = context.WithCancel(ctx)
	if q.conn, err = pgx.ConnectConfig(q.ctx, c); err != nil {
		q.cancel()
		return nil, fmt.Errorf("%w: %w", ErrConnect, q.hide(err))
	}
	if err = q.begin(o.StatementTimeout); err == nil {
		err = q.start()
	}
	if err != nil {
		return nil, errors.Join(err, q.close())
	}
	return q, nil
}

// begin opens the transaction that all runs in. It is read only, since what defines
// history has no business writing. Settings are local to it: poolers refuse others.
func (q *query) begin(timeout time.Duration) error {
	if _, err := q.conn.Exec(q.ctx, "begin read only"); err != nil {
		return q.failed(err)
	}
	settings := "set local timezone = 'UTC'"
	if timeout > 0 {
		settings += "; set local statement_timeout = " + strconv.FormatInt(max(timeout.Milliseconds(), 1), 10)
	}
	if _, err := q.conn.Exec(q.ctx, settings); err != nil {
		return q.failed(err)
	}
	return nil
}

// hide makes an error that does not show the password, whatever the server says.
func (q *query) hide(err error) error {
	if err == nil || q.secret == "" || !strings.Contains(err.Error(), q.secret) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), q.secret, "***"))
}

// start asks the server what the query yields, binds it and runs it.
func (q *query) start() error {
	d, err := q.conn.Prepare(q.ctx, "", q.part.in.Query)
	if err != nil {
		return q.failed(err)
	}
	var names []string
	for _, f := range d.Fields {
		names = append(names, f.Name)
	}
	if q.bound, q.missing, err = q.shape.bind(q.part, func(name string) (int, string) {
		place := slices.Index(names, name)
		if place >= 0 && slices.Contains(names[place+1:], name) {
			return -1, ": the query has it twice"
		}
		return place, listed(names)
	}); err != nil {
		return err
	}
	formats := make(pgx.QueryResultFormats, len(d.Fields))
	q.scan = make([]any, len(d.Fields)) // nil is not decoded
	for _, b := range q.bound {
		f := &d.Fields[b.column]
		target, format := scanTarget(f.DataTypeOID, q.shape.source.Fields[b.field].Type, b.unit)
		if target == nil {
			return fmt.Errorf("%w: field %s is %s, and column %q is %s; cast it in the query", ErrInput,
				q.shape.source.Fields[b.field].Name, q.shape.source.Fields[b.field].Type, f.Name, q.typeName(f.DataTypeOID))
		}
		q.scan[b.column], formats[b.column] = target, format
	}
	q.rows, err = q.conn.Query(q.ctx, q.part.in.Query, formats)
	if err != nil {
		return q.failed(err)
	}
	return nil
}

func (q *query) typeName(oid uint32) string {
	if t, ok := q.conn.TypeMap().TypeForOID(oid); ok {
		return t.Name
	}
	return fmt.Sprintf("of type %d", oid)
}

// failed tells whether the query or the connection is at fault.
func (q *query) failed(err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return fmt.Errorf("%w: %w", ErrConnect, q.hide(err))
	}
	const canceled, shutdown = "57014", "57P"
	switch {
	case e.Code == canceled:
		return fmt.Errorf("%w: the query took longer than the statement time-out: %w", ErrConnect, q.hide(err))
	case strings.HasPrefix(e.Code, shutdown), strings.HasPrefix(e.Code, "08"), strings.HasPrefix(e.Code, "53"):
		return fmt.Errorf("%w: %w", ErrConnect, q.hide(err))
	}
	where := ""
	if e.Position > 0 {
		where = fmt.Sprintf(", at character %d", e.Position)
	}
	return fmt.Errorf("%w: query%s: %w", ErrInput, where, q.hide(err))
}

// scanTarget is what a column of the result is decoded to, nil if it does not suit the
// field, and in which format it is asked for.
func scanTarget(oid uint32, t column.Type, unit epoch) (target any, format int16) {
	integer := oid == pgtype.Int2OID || oid == pgtype.Int4OID || oid == pgtype.Int8OID
	float := oid == pgtype.Float4OID || oid == pgtype.Float8OID || oid == pgtype.NumericOID
	text := oid == pgtype.TextOID || oid == pgtype.VarcharOID || oid == pgtype.BPCharOID || oid == pgtype.NameOID || oid == pgtype.UUIDOID
	switch {
	case t == column.Bool && oid == pgtype.BoolOID:
		return &pgtype.Bool{}, pgx.BinaryFormatCode
	case t == column.Int64 && integer, t == column.Timestamp && unit != 0 && integer:
		return &pgtype.Int8{}, pgx.BinaryFormatCode
	case t == column.Float64 && (integer || float), t == column.Timestamp && unit != 0 && float:
		return &pgtype.Float8{}, pgx.BinaryFormatCode
	case t == column.Timestamp && unit != 0:
		return nil, 0
	case t == column.Timestamp && oid == pgtype.TimestamptzOID:
		return &pgtype.Timestamptz{}, pgx.BinaryFormatCode
	case t == column.Timestamp && oid == pgtype.TimestampOID:
		return &pgtype.Timestamp{}, pgx.BinaryFormatCode
	case t == column.Timestamp && oid == pgtype.DateOID:
		return &pgtype.Date{}, pgx.BinaryFormatCode
	case t == column.String && (text || oid >= userTypes): // an enumeration has a number of its own
		return &pgtype.Text{}, pgx.TextFormatCode
	}
	return nil, 0
}

// userTypes is the first number of types that are not PostgreSQL's own
// (FirstNormalObjectId in its access/transam.h).
const userTypes = 16384

func (q *query) progress() float64 { return -1 }
func (q *query) absent() []bool    { return q.missing }

// close does not read to the end what nobody wants any more.
func (q *query) close() error {
	q.cancel()
	if q.rows != nil {
		q.rows.Close()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.ctx), closeTimeout)
	defer cancel()
	return q.hide(q.conn.Close(ctx))
}

// queryPiece has its rows already.
type queryPiece struct {
	batch column.Batch
	bad   rejects
}

func (p *queryPiece) fill(b *column.Batch, w *worker) error {
	*b, p.batch = p.batch, *b
	w.rejects, p.bad = p.bad, w.rejects
	return nil
}

func (q *query) next() (piece, error) {
	p := &queryPiece{}
	q.shape.prepare(&p.batch)
	p.bad.reset(q.part.name, false, q.read+1)
	for p.batch.Rows < q.most && q.rows.Next() {
		if err := q.rows.Scan(q.scan...); err != nil {
			return nil, fmt.Errorf("row %d: %w", q.read+1, q.hide(err))
		}
		for _, b := range q.bound {
			c := &p.batch.Columns[b.field]
			if fault := appendScanned(c, q.scan[b.column], b.unit); fault != "" {
				p.bad.row(p.batch.Rows, c.Name, fault)
			}
		}
		p.batch.Rows++
		q.read++
	}
	if p.batch.Rows > 0 {
		return p, nil
	}
	if err := q.rows.Err(); err != nil {
		return nil, q.failed(err)
	}
	return nil, io.EOF
}

// appendScanned appends a value of a result; what is wrong with it otherwise.
func appendScanned(c *column.Column, v any, unit epoch) (fault string) {
	switch v := v.(type) {
	case *pgtype.Bool:
		return appendBool(c, v)
	case *pgtype.Int8:
		return appendInt8(c, v, unit)
	case *pgtype.Float8:
		return appendFloat8(c, v, unit)
	case *pgtype.Text:
		if v.Valid {
			c.AppendText(v.String)
		} else {
			c.AppendNull()
		}
		return ""
	case *pgtype.Timestamptz:
		return appendInstant(c, v.Time, v.InfinityModifier, v.Valid)
	case *pgtype.Timestamp:
		return appendInstant(c, v.Time, v.InfinityModifier, v.Valid)
	case *pgtype.Date:
		return appendInstant(c, v.Time, v.InfinityModifier, v.Valid)
	}
	c.AppendNull()
	return "is of no known type"
}

func appendBool(c *column.Column, v *pgtype.Bool) string {
	switch {
	case !v.Valid:
		c.AppendNull()
	case v.Bool:
		c.AppendNumber(1)
	default:
		c.AppendNumber(0)
	}
	return ""
}

func appendInt8(c *column.Column, v *pgtype.Int8, unit epoch) string {
	switch {
	case !v.Valid:
		c.AppendNull()
	case unit != 0:
		c.AppendInt(toMicros(v.Int64, 0, unit))
	default:
		c.AppendInt(v.Int64)
	}
	return ""
}

func appendFloat8(c *column.Column, v *pgtype.Float8, unit epoch) string {
	switch {
	case !v.Valid:
		c.AppendNull()
	case unit != 0:
		c.AppendInt(floatToMicros(v.Float64, unit))
	default:
		c.AppendNumber(v.Float64)
	}
	return ""
}

// appendInstant takes a time; the server also knows times that never come.
func appendInstant(c *column.Column, t time.Time, infinity pgtype.InfinityModifier, valid bool) string {
	if !valid {
		c.AppendNull()
		return ""
	}
	if infinity != pgtype.Finite {
		c.AppendNull()
		return "is " + infinity.String()
	}
	c.AppendInt(t.UnixMicro())
	return ""
}
