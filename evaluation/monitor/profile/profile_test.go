// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/source"
)

var schema = []Column{{Name: "amount"}, {Name: "country", Text: true}, {Name: "age"}}

// world deals out rows, with values of all kinds.
func world(r *rand.Rand, rows int) []Row {
	list := make([]Row, rows)
	for i := range list {
		amount := math.Exp(20*r.NormFloat64()) * float64(1-2*r.IntN(2))
		switch r.IntN(30) {
		case 0:
			amount = math.NaN()
		case 1:
			amount = math.Inf(1)
		}
		country := fmt.Sprintf("c%d", int(r.ExpFloat64()*30))
		if r.IntN(10) == 0 {
			country = ""
		}
		list[i] = Row{Hash(fmt.Sprint("row", i)), r.Int64N(1000), 0, []float64{amount, 20 + 10*r.NormFloat64()}, []string{country}}
	}
	return list
}

func profileOf(t *testing.T, rows []Row, reference *Profile) *Profile {
	t.Helper()
	p, err := New(schema, Options{Sample: 40, Categories: 25}, reference)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		if err := p.Add(&rows[i]); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func marshal(t *testing.T, p *Profile) []byte {
	t.Helper()
	data, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestAnyOrderAnyParts is P1: rows in another order, cut in parts that are merged, with one
// part stored in between, give the same bytes.
func TestAnyOrderAnyParts(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(1, seed))
		var reference *Profile
		if seed%2 == 1 {
			reference = profileOf(t, world(r, 50), nil)
		}
		rows := world(r, 300)
		want := marshal(t, profileOf(t, rows, reference))
		r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		cut := r.IntN(len(rows))
		a, b := profileOf(t, rows[:cut], reference), profileOf(t, rows[cut:], reference)
		a, err := Unmarshal(marshal(t, a))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Merge(b); err != nil {
			t.Fatal(err)
		}
		if got := marshal(t, a); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: parts of %d rows and the rest make another profile", seed, cut)
		}
	}
}

func TestCounts(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	rows := world(r, 2000)
	p := profileOf(t, rows, nil)
	var age []float64
	missing, countries := 0, map[string]bool{}
	for _, row := range rows {
		age = append(age, row.Numbers[1])
		if row.Texts[0] == "" {
			missing++
		} else {
			countries[row.Texts[0]] = true
		}
	}
	mean, squares := 0.0, 0.0
	for _, v := range age {
		mean += v / float64(len(age))
	}
	for _, v := range age {
		squares += (v - mean) * (v - mean) / float64(len(age))
	}
	m, sd := p.Numbers[1].Moments()
	if math.Abs(m-mean) > 1e-9 || math.Abs(sd-math.Sqrt(squares)) > 1e-9 {
		t.Errorf("mean %v and sd %v, want %v and %v", m, sd, mean, math.Sqrt(squares))
	}
	c := &p.Texts[0]
	if int(c.Missing) != missing || len(c.Seen) != 25 || c.Rest == 0 {
		t.Errorf("%d missing, want %d; %d categories are counted, %d rows are in the rest", c.Missing, missing, len(c.Seen), c.Rest)
	}
	if d := c.Distinct(); math.Abs(d/float64(len(countries))-1) > 0.5 {
		t.Errorf("%v categories are estimated of %d", d, len(countries))
	}
	total := 0
	for _, n := range c.Counts() {
		total += n
	}
	if total != len(rows)-missing {
		t.Errorf("counts add up to %d, want %d", total, len(rows)-missing)
	}
	if top := c.Top(3); len(top) != 3 || top[0].Rows < top[2].Rows {
		t.Errorf("top %v", top)
	}
	if n := len(p.Sample.Numbers(0)); n != 40 {
		t.Errorf("%d rows are in the sample", n)
	}
	next := profileOf(t, []Row{{Numbers: []float64{0, 1e9}, Texts: []string{"new"}}, {Numbers: []float64{0, -1e9}, Texts: []string{"c0"}}}, p)
	if n := next.Numbers[1]; n.Above != 1 || n.Below != 1 {
		t.Errorf("out of range: %+v", n)
	}
}

// TestSum holds that sums are exact: numbers that cancel leave nothing, and tiny ones are
// not lost beside huge ones.
func TestSum(t *testing.T) {
	var s Sum
	for _, v := range []float64{1e308, 5e-324, -1e308, 1.5, 1e308, -1e308, -1.5} {
		s.Add(v)
	}
	if got := s.Float(); got != 5e-324 {
		t.Errorf("sum %v, want the least number", got)
	}
	r := rand.New(rand.NewPCG(3, 3))
	var all, parts Sum
	for range 10 {
		var part Sum
		for range 100 {
			v := r.NormFloat64() * math.Pow(2, float64(r.IntN(200)-100))
			all.Add(v)
			part.Add(v)
			part.carry()
		}
		parts.Merge(&part)
	}
	if all.Float() != parts.Float() {
		t.Errorf("sum %v, of parts %v", all.Float(), parts.Float())
	}
	all.Add(math.Inf(1))
	if !math.IsNaN(all.Float()) {
		t.Error("a sum with an infinite number is not NaN")
	}
}

func TestStore(t *testing.T) {
	data := marshal(t, profileOf(t, world(rand.New(rand.NewPCG(4, 4)), 100), nil))
	for i := range len(data) {
		broken := bytes.Clone(data)
		broken[i] ^= 1
		p, err := Unmarshal(broken)
		if err == nil && !bytes.Equal(marshal(t, p), data) {
			t.Fatalf("byte %d was changed and another profile was read", i)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d: error %v, want ErrCorrupt", i, err)
		}
	}
	if _, err := Unmarshal(data[:len(data)/2]); !errors.Is(err, ErrCorrupt) {
		t.Errorf("half a profile: %v", err)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "train.parquet")
	w, err := source.NewParquetWriter(path, []source.ParquetColumn{{Name: "amount", Type: column.Float64}, {Name: "country", Type: column.String}, {Name: "age", Type: column.Int64}, {Name: "at", Type: column.Timestamp}}, source.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := column.Batch{Rows: 3, Columns: []column.Column{
		{Name: "amount", Type: column.Float64, Numbers: []float64{1, math.NaN(), 3}},
		{Name: "country", Type: column.String, Texts: []string{"NL", "", "BE"}, Nulls: []bool{false, true, false}},
		{Name: "age", Type: column.Int64, Ints: []int64{30, 40, 50}},
		{Name: "at", Type: column.Timestamp, Ints: []int64{7, 9, 8}},
	}}
	if err := w.Write(&b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	rows := 0
	p, err := File(t.Context(), path, schema, "at", Options{}, func(b *column.Batch) { rows += b.Rows })
	if err != nil {
		t.Fatal(err)
	}
	if p.Rows != 3 || rows != 3 || p.Newest != 9 || p.Numbers[0].Missing != 1 || p.Texts[0].Missing != 1 || p.Numbers[1].Max != 50 {
		t.Errorf("profile %+v", p)
	}
	for _, wrong := range [][]Column{{{Name: "none"}}, {{Name: "country"}}} {
		if _, err := File(t.Context(), path, wrong, "", Options{}, nil); !errors.Is(err, ErrInput) {
			t.Errorf("columns %v: %v, want ErrInput", wrong, err)
		}
	}
}

func TestBad(t *testing.T) {
	p := profileOf(t, nil, nil)
	other, err := New(schema[:1], Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, twice := New([]Column{{Name: "a"}, {Name: "a"}}, Options{}, nil)
	_, large := New(schema, Options{Sample: SampleMax + 1}, nil)
	for name, err := range map[string]error{"values": p.Add(&Row{}), "schema": p.Merge(other), "twice": twice, "large": large} {
		if !errors.Is(err, ErrInput) {
			t.Errorf("%s: error %v, want ErrInput", name, err)
		}
	}
	long := strings.Repeat("x", 10_000)
	for i := range 100 {
		if err := p.Add(&Row{Key: uint64(i), Numbers: []float64{1, 1}, Texts: []string{long + fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if size := len(marshal(t, p)); size > 100_000 {
		t.Errorf("long categories make a profile of %d bytes", size)
	}
}
