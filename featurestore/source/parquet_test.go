// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// parquetInput writes rows by another library.
func parquetInput[T any](t testing.TB, rows []T, o ...parquet.WriterOption) definition.Input {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in.parquet")
	f, err := os.Create(path)
	must(t, err)
	w := parquet.NewGenericWriter[T](f, o...)
	_, err = w.Write(rows)
	must(t, errors.Join(err, w.Close(), f.Close()))
	return definition.Input{Format: definition.Parquet, Path: path}
}

type paid struct {
	ID       string    `parquet:"id,dict"`
	Time     time.Time `parquet:"time,timestamp(millisecond)"`
	Customer *int32    `parquet:"customer,optional"`
	Amount   float32   `parquet:"amount"`
	Channel  *string   `parquet:"channel,optional,zstd"`
	Fraud    *bool     `parquet:"fraud,optional"`
	List     []int64   `parquet:"list,list"`
}

func somePaid(n int) ([]paid, []string) {
	var all []paid
	var want []string
	for i := range n {
		customer, channel, fraud := int32(i%7-3), []string{"web", "pos"}[i%2], i%3 == 0
		p := paid{ID: fmt.Sprint("id", i%50), Time: time.UnixMilli(1704164645000 + int64(i)).UTC(), Customer: &customer, Amount: float32(i) / 4, Channel: &channel, Fraud: &fraud}
		row := fmt.Sprintf("%s %d %d %v", p.ID, p.Time.UnixMicro(), customer, p.Amount)
		switch i % 5 {
		case 1:
			p.Channel, p.Fraud = nil, nil
			row += " null null"
		case 2:
			p.Customer = nil
			row = strings.Replace(row, fmt.Sprintf(" %d ", customer), " null ", 1) + " " + channel + map[bool]string{true: " 1", false: " 0"}[fraud]
		default:
			row += " " + channel + map[bool]string{true: " 1", false: " 0"}[fraud]
		}
		all, want = append(all, p), append(want, row)
	}
	return all, want
}

func TestParquet(t *testing.T) {
	all, want := somePaid(5000)
	in := parquetInput(t, all, parquet.PageBufferSize(1000), parquet.MaxRowsPerRowGroup(1234))
	for _, batch := range []int{0, 1, 7, 999, 5000} {
		got, r := readAll(t, payments(in), Options{BatchRows: batch})
		same(t, fmt.Sprint("batches of ", batch), got, want)
		if r.RowsTotal() != 5000 || r.Progress() != 1 {
			t.Errorf("%d rows, progress %v", r.RowsTotal(), r.Progress())
		}
	}
}

// kinds has a column of each kind that can be turned into other types.
type kinds struct {
	Whole  float64  `parquet:"whole"`
	Half   float64  `parquet:"half"`
	Uint   uint64   `parquet:"uint"`
	Small  uint32   `parquet:"small"`
	Zero   int32    `parquet:"zero"`
	Epoch  int64    `parquet:"epoch"`
	Date   int32    `parquet:"date,date"`
	Money  int64    `parquet:"money,decimal(2:18)"`
	Single float32  `parquet:"single"`
	Maybe  *float64 `parquet:"maybe,optional"`
	Text   string   `parquet:"text"`
	Group  struct {
		A int64 `parquet:"a"`
	} `parquet:"group"`
}

func TestParquetTypes(t *testing.T) {
	in := parquetInput(t, []kinds{
		{Whole: 5, Half: 0.5, Uint: 7, Small: math.MaxUint32, Epoch: 1704164645, Date: 19724, Money: 1234, Single: 0.25, Text: "x"},
		{Whole: math.NaN(), Half: 2, Uint: 1 << 63, Zero: 2, Epoch: -1, Date: -1, Money: -5, Single: 1, Text: "y"},
	})
	read := func(f definition.Field, name string) ([]string, *Reader, error) {
		s := &definition.Source{Name: "kinds", Fields: []definition.Field{f}, ID: -1, Timestamp: -1, Arrival: -1, Inputs: []definition.Input{in}}
		s.Inputs[0].Columns = map[string]string{f.Name: name}
		return tryAll(t, s, Options{BadRowsMax: -1})
	}
	for _, c := range []struct {
		kind, column string
		want         []string
		bad          string
	}{
		{"int64", "whole", []string{"5", "null"}, ""},
		{"int64", "half", []string{"2"}, "0.5 is not a whole number"},
		{"int64", "uint", []string{"7"}, "9223372036854775808 is not a whole number within 64 bits"},
		{"float64", "uint", []string{"7", "9.223372036854776e+18"}, ""},
		{"int64", "small", []string{"4294967295", "0"}, ""},
		{"bool", "zero", []string{"0"}, "2 is not true, false, 1 or 0"},
		{"float64", "zero", []string{"0", "2"}, ""},
		{"timestamp", "unix_s(epoch)", []string{"1704164645000000", "-1000000"}, ""},
		{"timestamp", "unix_ms(half)", []string{"500", "2000"}, ""},
		{"timestamp", "date", []string{"1704153600000000", "-86400000000"}, ""},
		{"float64", "money", []string{"12.34", "-0.05"}, ""},
		{"float64", "single", []string{"0.25", "1"}, ""},
		{"float64", "maybe", []string{"null", "null"}, ""},
		{"float64 required", "maybe", nil, "is null"},
		{"string", "text", []string{"x", "y"}, ""},
	} {
		got, r, err := read(field("f", c.kind), c.column)
		if err != nil {
			t.Errorf("%s as %s: %v", c.column, c.kind, err)
			continue
		}
		same(t, c.column+" as "+c.kind, got, c.want)
		if bad := r.Bad(); c.bad == "" && len(bad) > 0 || c.bad != "" && (len(bad) == 0 || !strings.Contains(bad[0].Message, c.bad)) {
			t.Errorf("%s as %s: bad rows %+v, want %q", c.column, c.kind, bad, c.bad)
		}
	}
	for _, c := range []struct{ kind, column, says string }{
		{"timestamp", "epoch", "unix_ms(epoch)"},
		{"int64", "text", `column "text" is BYTE_ARRAY`},
		{"string", "zero", "field f is string"},
		{"bool", "half", "DOUBLE"},
		{"int64", "date", "DATE"},
		{"int64", "group", "columns within it"},
		{"int64", "nothing", `no column "nothing"; there are ["whole" "half"`},
		{"int64", "unix_s(epoch)", "for timestamps"},
		{"timestamp", "unix_s(text)", "timestamp"},
	} {
		_, _, err := read(field("f", c.kind), c.column)
		expectError(t, err, ErrInput, "source kinds", in.Path, "field f", c.says)
	}
}

func TestParquetFilesThatAreNone(t *testing.T) {
	all, _ := somePaid(100)
	data, err := os.ReadFile(parquetInput(t, all).Path)
	must(t, err)
	for _, c := range []struct {
		name string
		data []byte
		kind error
	}{
		{"empty", nil, ErrCorrupt}, {"text", []byte("id,time\n1,2\n3,4\n"), ErrCorrupt}, {"half", data[:len(data)/2], ErrCorrupt},
		{"encrypted", append(bytes.Clone(data[:len(data)-4]), "PARE"...), ErrUnsupported},
	} {
		path := put(t, filepath.Join(t.TempDir(), c.name+".parquet"), string(c.data))
		_, _, err := tryAll(t, payments(definition.Input{Format: definition.Parquet, Path: path}), Options{})
		expectError(t, err, c.kind, c.name+".parquet")
	}
}

// The rows of a page that two slices share are decoded once, whoever needs them first.
func TestPagesAcrossSlices(t *testing.T) {
	all, want := somePaid(20_000)
	in := parquetInput(t, all, parquet.PageBufferSize(64<<10), parquet.DataPageVersion(1))
	for _, workers := range []int{1, 2, 5} {
		for _, batch := range []int{100, 4096} {
			same(t, fmt.Sprint(workers, " workers, ", batch), parallel(t, payments(in), Options{BatchRows: batch}, workers), want)
		}
	}
}

// parallel reads everything with several goroutines and puts it in order.
func parallel(t testing.TB, s *definition.Source, o Options, workers int) []string {
	t.Helper()
	r, err := Open(t.Context(), s, o)
	must(t, err)
	defer func() { must(t, r.Close()) }()
	slices := make(chan struct {
		n    int
		rows []string
	}, 1<<16)
	must(t, r.ReadParallel(workers, func(n int, b *column.Batch) error {
		sound(t, b)
		slices <- struct {
			n    int
			rows []string
		}{n, rows(b)}
		return nil
	}))
	close(slices)
	byNumber := map[int][]string{}
	for s := range slices {
		byNumber[s.n] = s.rows
	}
	var all []string
	for n := range len(byNumber) {
		some, ok := byNumber[n]
		if !ok {
			t.Fatalf("no slice %d among %d", n, len(byNumber))
		}
		all = append(all, some...)
	}
	return all
}
