// SPDX-License-Identifier: Apache-2.0

package expression

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
)

var testEnv = []Field{
	{"amount", column.Float64}, {"count", column.Int64}, {"web", column.Bool}, {"at", column.Timestamp},
	{"channel", column.String}, {"none", column.Float64}, {"nobody", column.String}, {"unsure", column.Bool},
	{"big", column.Int64},
}

// 2018-07-28 was a Saturday.
var testTime = time.Date(2018, 7, 28, 23, 45, 6, 789000, time.UTC)

func testRow() *Row {
	null := math.NaN()
	return &Row{
		Numbers:   []float64{120.5, 7, 1, float64(testTime.UnixMicro()), null, null, null, null, 1 << 53},
		Texts:     []string{"", "", "", "", " Web ", "", "junk", "", ""},
		NullTexts: []bool{false, false, false, false, false, false, true, false, false},
	}
}

// show is the type and the result of an expression over testRow, for tables.
func show(p *Program, r *Row) string {
	if p.Type() == column.String {
		s, null := p.Text(r)
		if null {
			return "string null"
		}
		return fmt.Sprintf("string %q", s)
	}
	x := p.Number(r)
	if x != x {
		return p.Type().String() + " null"
	}
	return fmt.Sprintf("%v %v", p.Type(), x)
}

func TestValues(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"amount", "float64 120.5"}, {"count + 1", "int64 8"}, {"count / 2", "float64 3.5"}, {"count % 4", "int64 3"},
		{"-count % 4", "int64 -3"}, {"amount % 7", "float64 1.5"}, {"count ** 2", "float64 49"}, {"2 ^ 3 ^ 2", "float64 512"},
		{"web + web", "int64 2"}, {"-web", "int64 -1"}, {"+count", "int64 7"}, {"1 + 2 * 3 - 4", "int64 3"},
		{"1.5 + count", "float64 8.5"}, {"0x10 + 0b11 + 1_000", "int64 1019"}, {"1e3", "float64 1000"},
		// E1 and E5
		{"none + 1", "float64 null"}, {"none > 1", "bool null"}, {"amount / (count - 7)", "float64 null"},
		{"count % (count - 7)", "int64 null"}, {"sqrt(-amount)", "float64 null"}, {"log(count - 7)", "float64 null"},
		{"log1p(-count)", "float64 null"}, {"exp(amount * 100)", "float64 null"}, {"amount ** 1000", "float64 null"},
		{"big + 1", "int64 null"}, {"big * big", "int64 null"}, {"0 - big - 1", "int64 null"}, {"big - 1", "int64 9.007199254740991e+15"},
		{"big * 1.0 + 2", "float64 9.007199254740994e+15"}, {"abs(none)", "float64 null"}, {"-none", "float64 null"},
		{"min(count, none)", "float64 null"}, {"max(none, 1)", "float64 null"}, {"clamp(none, 0, 1)", "float64 null"},
		{"clamp(amount, 5, count - 7)", "float64 null"}, {"nobody + 'x'", "string null"}, {"'x' + nobody", "string null"},
		{"upper(nobody)", "string null"}, {"len(nobody)", "int64 null"}, {"nobody == 'junk'", "bool null"},
		{"nobody in ['junk']", "bool null"}, {"none in [1]", "bool null"}, {"nobody contains 'j'", "bool null"},
		{"'j' contains nobody", "bool null"}, {"nobody matches 'j'", "bool null"}, {"hash(nobody, 10)", "int64 null"},
		{"hour(at + none)", "int64 null"}, {"at + 1e300", "timestamp null"}, {"not unsure", "bool null"},
		// E2: see also TestThreeValues
		{"none > 1 and false", "bool 0"}, {"none > 1 or true", "bool 1"}, {"none > 1 and true", "bool null"},
		// E3 and E4
		{"none > 1 ? 1 : 2", "int64 2"}, {"web ? amount : 0", "float64 120.5"}, {"web ? nil : 1", "int64 null"},
		{"web ? 'a' : nil", `string "a"`}, {"not web ? 'a' : nil", "string null"}, {"none ?? 5", "float64 5"}, {"nobody ?? 'x'", `string "x"`},
		{"amount ?? 5", "float64 120.5"}, {"channel ?? 'x'", `string " Web "`}, {"(none ?? count) + 1", "float64 8"},
		{"is_null(none)", "bool 1"}, {"is_null(amount)", "bool 0"}, {"is_null(nobody)", "bool 1"}, {"is_null(channel)", "bool 0"},
		{"true ? 1 : 2.5", "float64 1"}, {"false ? 1 : web", "int64 1"}, {"web ? web : false", "bool 1"},
		// comparisons
		{"amount > 120", "bool 1"}, {"amount <= 120", "bool 0"}, {"5 < count < 9", "bool 1"}, {"5 < count < 7", "bool 0"},
		{"count == 7.0", "bool 1"}, {"count != 7", "bool 0"}, {"web == true", "bool 1"}, {"web == 1", "bool 1"},
		{"count in [1, 7.0]", "bool 1"}, {"count not in [1, 7]", "bool 0"}, {"count in [-7, 2 * 3]", "bool 0"},
		{"at > timestamp('2018-07-28T23:45:06Z')", "bool 1"}, {"at in [timestamp('2018-07-28T00:00:00Z')]", "bool 0"},
		{"channel == ' Web '", "bool 1"}, {"channel < 'a'", "bool 1"}, {"channel >= 'a'", "bool 0"}, {"channel != 'x'", "bool 1"},
		{"channel > ''", "bool 1"}, {"channel <= ''", "bool 0"}, {"count >= amount", "bool 0"}, {"count == amount", "bool 0"},
		{"amount != amount", "bool 0"}, {"count < amount", "bool 1"}, {"amount <= amount", "bool 1"}, {"amount > count", "bool 1"},
		// texts
		{"lower(trim(channel))", `string "web"`}, {"channel | trim() | upper()", `string "WEB"`}, {"len(channel)", "int64 5"},
		{"len('é')", "int64 1"}, {"channel contains 'We'", "bool 1"}, {"trim(channel) startsWith 'W'", "bool 1"},
		{"channel endsWith 'b'", "bool 0"}, {"channel matches '(?i)^ *WEB *$'", "bool 1"}, {"channel not matches 'x'", "bool 1"},
		{"trim(channel) in ['pos', 'Web', 'atm']", "bool 1"}, {"'a' + 'b' + channel", `string "ab Web "`},
		{`"caf\u00e9" + 'x'`, `string "caféx"`}, {"trim(channel) not in ['pos']", "bool 1"},
		// functions
		{"abs(-3)", "int64 3"}, {"abs(-3.5)", "float64 3.5"}, {"min(3, 1, 2)", "int64 1"}, {"max(count, 1.5, 9)", "float64 9"},
		{"floor(2.7)", "float64 2"}, {"ceil(2.1)", "float64 3"}, {"round(2.5)", "float64 3"}, {"round(-2.5)", "float64 -3"},
		{"sqrt(49)", "float64 7"}, {"log(1)", "float64 0"}, {"log1p(0)", "float64 0"}, {"exp(0)", "float64 1"},
		{"pow(2, 10)", "float64 1024"}, {"clamp(count, 0, 5)", "int64 5"}, {"clamp(-1.5, 0, 5)", "float64 0"}, {"clamp(3, 0, 5)", "int64 3"},
		// times
		{"hour(at)", "int64 23"}, {"minute(at)", "int64 45"}, {"weekday(at)", "int64 6"}, {"day(at)", "int64 28"},
		{"month(at)", "int64 7"}, {"year(at)", "int64 2018"}, {"hour(at, 'Europe/Paris')", "int64 1"},
		{"weekday(at, 'Europe/Paris')", "int64 7"}, {"day(at, 'America/New_York')", "int64 28"}, {"minute(at, 'Asia/Kolkata')", "int64 15"},
		{"epoch(timestamp('1970-01-02T00:00:00Z'))", "float64 86400"}, {"at - timestamp('2018-07-28T23:45:06Z')", "float64 0.000789"},
		{"hour(at + 3600)", "int64 0"}, {"hour(3600 + at)", "int64 0"}, {"hour(at - 3600)", "int64 22"},
		{"timestamp('2018-07-28T23:45:06+02:00') < at", "bool 1"}, {"max(at, timestamp('2020-01-01T00:00:00Z')) == at", "bool 0"},
		{"weekday(at) >= 6 and (hour(at) <= 6 or hour(at) > 22)", "bool 1"},
		{"amount > 100 // a comment", "bool 1"}, {"amount /* a comment */ > 100", "bool 1"}, {"amount\n> 100\n", "bool 1"},
	} {
		p, err := Compile(c.text, testEnv)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := show(p, testRow()); got != c.want {
			t.Errorf("%s: %s, want %s", c.text, got, c.want)
		}
		if p.String() != c.text {
			t.Errorf("%s: String is %q", c.text, p.String())
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		text   string
		offset int
		want   string
	}{
		{"", 0, "the text is empty"}, {" \n", 0, "the text is empty"}, {"\xff", 0, "not valid UTF-8"},
		{"amount +", 8, "ends too early"}, {"amount + )", 9, `unexpected ")"`}, {"(amount", 7, "ends too early"},
		{"1 2", 2, `unexpected "2"`}, {"amuont > 1", 0, "unknown name amuont; did you mean amount?"}, {"x", 0, "unknown name x"},
		{"é + 1", 0, "unknown name é"}, {"'é' + amount", 4, "string and float64 cannot be combined by +"},
		{"hour", 0, "hour is a function: write hour(...)"}, {"hours(at)", 0, "unknown function hours; did you mean hour?"},
		{"count(1)", 0, "unknown function count"}, {"filter(count, # > 1)", 14, `unexpected "#"`}, {"hour()", 0, "hour takes 1 to 2 arguments, not 0"},
		{"abs(1, 2)", 0, "abs takes one argument, not 2"}, {"clamp(1, 2)", 0, "clamp takes 3 arguments, not 2"}, {"now()", 0, "unknown function now"},
		{"hour(amount)", 5, "hour needs a timestamp, this is float64"}, {"hour(at, channel)", 9, `must be a literal such as "Europe/Paris"`},
		{"hour(at, 'Europe/Pariss')", 9, `unknown time zone "Europe/Pariss"`}, {"hour(at, 'Local')", 9, "must be a literal"},
		{"epoch(count)", 6, "epoch needs a timestamp, this is int64"}, {"timestamp('yesterday')", 10, `"yesterday" is no time`},
		{"timestamp(channel)", 10, "timestamp needs a literal"}, {"timestamp('9999-01-01T00:00:00Z')", 10, "beyond the year 2255"},
		{"at + at", 3, "timestamp and timestamp cannot be combined by +"}, {"at * 2", 3, "cannot be combined"}, {"1 - at", 2, "cannot be combined"},
		{"at > '2018-07-25'", 3, "timestamp and string cannot be compared; write timestamp("}, {"at == 5", 3, "timestamp and int64 cannot be compared"},
		{"channel > 5", 8, "string and int64 cannot be compared"}, {"channel and web", 0, "and needs bools, this is string"},
		{"web or count", 7, "or needs bools, this is int64"}, {"not count", 4, "not needs a bool, this is int64"}, {"-channel", 1, "- needs a number, this is string"},
		{"count ? 1 : 2", 0, "the test of ? : needs a bool, this is int64"}, {"web ? 1 : 'x'", 10, "the branches of ? : are int64 and string"},
		{"web ? nil : nil", 12, "the branches of ? : are nil and nil"}, {"none ?? 'x'", 5, "the sides of ?? are float64 and string"},
		{"none ?? nil", 5, "nil has no use beside ??"}, {"none ?? 1 + 1", 10, "put one of them in brackets"}, {"nil", 0, "the result is always null"},
		{"amount == nil", 10, "is_null(x) tells whether"}, {"is_null(nil)", 8, "nil is no argument"}, {"1 / 0", 2, "this is always null"},
		{"log(0)", 0, "this is always null"}, {"(true ? nil : 1) + 2", 1, "nil has no value"}, {"count in 1..5", 6, "needs a list of literals"},
		{"count in []", 6, "needs a list of literals"}, {"count in [amount]", 10, "may only have literals"}, {"count in ['a']", 10, "int64 and string cannot be compared"},
		{"count in [nil]", 10, "may only have literals"}, {"[1, 2]", 0, "lists, but on the right of in, are no part"}, {"{a: 1}", 0, "maps are no part"},
		{"amount.x", 7, "members, indices and slices"}, {"amount[0]", 6, "members, indices and slices"}, {"let x = 1; x", 4, "variables and sequences"},
		{"1; 2", 0, "variables and sequences"}, {"if web { 1 } else { 2 }", 3, "write a condition as: test ? a : b"}, {"amount.abs()", 7, "methods are no part"},
		{"channel matches nobody", 16, "the pattern of matches must be a literal"}, {"channel matches '('", 16, "missing closing )"},
		{"hash(channel, count)", 14, "a literal from 1 to 2^31"}, {"hash(channel, 0)", 14, "a literal from 1 to 2^31"}, {"hash(amount, 5)", 5, "hash needs a string or an int64"},
		{"9007199254740993", 0, "beyond 2^53"}, {"99999999999999999999", 19, "malformed or too large"}, {"1e999", 4, "malformed or too large"},
		{"clamp(1, 5, 2)", 9, "needs lowest <= highest"}, {"min(at, 1)", 8, "not both"}, {"min(channel, 'x')", 4, "needs numbers or times"},
		{"len(count)", 4, "len needs a string, this is int64"}, {"upper(count)", 6, "upper needs a string"}, {"sqrt(channel)", 5, "sqrt needs numbers"},
		{"abs(channel)", 4, "abs needs numbers"}, {"clamp(at, 1, 2)", 6, "clamp needs numbers"}, {"channel contains 5", 8, "contains needs two strings"},
		{"1..2", 1, "operator .. is no part of the language"}, {strings.Repeat("(", 200) + "1", 201, "ends too early"},
		{strings.Repeat("x", TextMax+1), 0, "at most 4096 are allowed"},
	} {
		_, err := Compile(c.text, testEnv)
		var bad *Error
		if !errors.As(err, &bad) {
			t.Errorf("%.60s: %v, want %q", c.text, err, c.want)
			continue
		}
		if bad.Offset != c.offset || !strings.Contains(bad.Message, c.want) {
			t.Errorf("%.60s: %d %q, want %d %q", c.text, bad.Offset, bad.Message, c.offset, c.want)
		}
	}
}

// TestThreeValues checks E2 against SQL's truth tables.
func TestThreeValues(t *testing.T) {
	null := math.NaN()
	env := []Field{{"a", column.Bool}, {"b", column.Bool}}
	and, or := must(t, "a and b", env), must(t, "a || b", env)
	for _, c := range [][4]float64{ // a, b, and, or
		{0, 0, 0, 0}, {0, 1, 0, 1}, {1, 0, 0, 1}, {1, 1, 1, 1}, {0, null, 0, null}, {null, 0, 0, null},
		{1, null, null, 1}, {null, 1, null, 1}, {null, null, null, null},
	} {
		r := &Row{Numbers: c[:2]}
		if x, y := and.Number(r), or.Number(r); !same(x, c[2]) || !same(y, c[3]) {
			t.Errorf("%v: and %v, or %v", c, x, y)
		}
		if and.True(r) != (c[2] == 1) {
			t.Errorf("%v: True is %v", c, and.True(r))
		}
	}
}

func same(a, b float64) bool { return a == b || a != a && b != b }

func must(t testing.TB, text string, env []Field) *Program {
	t.Helper()
	p, err := Compile(text, env)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

// TestBounds checks that what is small as a text cannot become large as a program.
func TestBounds(t *testing.T) {
	nested := strings.Repeat("abs(", NestingMax) + "1" + strings.Repeat(")", NestingMax)
	must(t, nested, nil)
	for text, want := range map[string]string{
		"abs(" + nested + ")":           "nested more than 64",
		strings.Repeat("1+", 300) + "1": "more than 512",
		// every level has its middle twice
		strings.Repeat("0<(", 20) + "1" + strings.Repeat("<2)<2", 20): "",
		strings.Repeat("-", 4000) + "1":                               "more than 512",
		strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2000):   "-",
	} {
		_, err := Compile(text, nil)
		if want == "-" {
			continue // brackets are no nodes; it need only end
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30s: %v, want %q", text, err, want)
		}
	}
	chain := strings.TrimSuffix(strings.Repeat("amount + ", 200), " + ")
	if got := must(t, chain, testEnv).Number(testRow()); got != 200*120.5 {
		t.Errorf("a chain of 200 sums to %v", got)
	}
}

func TestFieldsAndCanonicalForm(t *testing.T) {
	p := must(t, "count > 1 && channel in ['b','a'] ? amount : count ^ 2", testEnv)
	if got := fmt.Sprint(p.Fields()); got != "[0 1 4]" {
		t.Errorf("fields %v", got)
	}
	for _, text := range []string{"count>1 and channel in [\"a\", 'b', 'a'] ? amount : count ** 2.0 // other layout", "(count > 2 - 1) && (channel in ['a', 'b']) ? amount : (count ** 2.0)"} {
		a, b := must(t, text, testEnv).Canonical(), must(t, "count>1 and channel in ['a','b'] ? amount : count**2.0", testEnv).Canonical()
		if a != b {
			t.Errorf("%s\nis %s\nnot %s", text, a, b)
		}
	}
	// Stored things are found by it: it must not change.
	want := `(?: (and (> count:int64 1) (in channel:string "a" "b")) amount:float64 (** count:int64 2))`
	if p.Canonical() != want {
		t.Errorf("canonical form %s", p.Canonical())
	}
	for text, other := range map[string]string{"amount + 1": "count + 1", "amount > 1": "amount >= 1", "amount * 2": "amount * 2.0", "'1'": "1"} {
		if must(t, text, testEnv).Canonical() == must(t, other, testEnv).Canonical() {
			t.Errorf("%s and %s have the same form", text, other)
		}
	}
	if f := must(t, " (amount) ", testEnv).Field(); f != 0 {
		t.Errorf("a name alone is field %d", f)
	}
	if f := must(t, "amount + 0", testEnv).Field(); f != -1 {
		t.Errorf("a sum is field %d", f)
	}
	if !must(t, "2 * 3", testEnv).Constant() || must(t, "amount", testEnv).Constant() {
		t.Error("constants are not told apart")
	}
}

func TestLastFieldOfAName(t *testing.T) {
	p := must(t, "x", []Field{{"x", column.String}, {"x", column.Int64}})
	if p.Type() != column.Int64 || p.Fields()[0] != 1 {
		t.Errorf("took %v of place %v", p.Type(), p.Fields())
	}
}

func TestPresence(t *testing.T) {
	for text, want := range map[string]string{"channel": "int64 1", "nobody": "int64 null", "amount": "int64 1", "none // gone": "int64 null"} {
		p := must(t, text, testEnv).Presence()
		if got := show(p, testRow()); got != want {
			t.Errorf("presence of %s: %s, want %s", text, got, want)
		}
	}
}

// TestHash pins buckets, which are features of models that are trained.
func TestHash(t *testing.T) {
	for text, want := range map[string]float64{"hash('', 1000)": 957, "hash('web', 1000)": 782, "hash('12', 1000)": 870, "hash(12, 1000)": 870, "hash(-7, 2147483648)": 636864601} {
		if got := must(t, text, nil).Number(&Row{}); got != want {
			t.Errorf("%s = %v, want %v", text, got, want)
		}
	}
	p := must(t, "hash(n, 10)", []Field{{"n", column.Int64}})
	var counts [10]int
	for i := range 10_000 {
		counts[int(p.Number(&Row{Numbers: []float64{float64(i)}}))]++
	}
	for b, n := range counts {
		if n < 850 || n > 1150 { // 1000 with a deviation of 30
			t.Errorf("bucket %d of 10 has %d of 10000", b, n)
		}
	}
}

// TestTimesAgree holds the parts of times to package time.
func TestTimesAgree(t *testing.T) {
	env := []Field{{"t", column.Timestamp}}
	for _, zone := range []string{"", "UTC", "Europe/Paris", "America/New_York", "Asia/Kathmandu"} {
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		argument := ""
		if zone != "" {
			argument = fmt.Sprintf(", %q", zone)
		}
		var programs []*Program
		for _, name := range []string{"year", "month", "day", "hour", "minute", "weekday"} {
			programs = append(programs, must(t, name+"(t"+argument+")", env))
		}
		random := rand.New(rand.NewPCG(1, 2))
		r := &Row{Numbers: []float64{0}}
		for range 2000 {
			micros := random.Int64N(1<<54) - 1<<53
			r.Numbers[0] = float64(micros)
			at := time.UnixMicro(micros).In(location)
			weekday := int(at.Weekday())
			if weekday == 0 {
				weekday = 7
			}
			for i, want := range []int{at.Year(), int(at.Month()), at.Day(), at.Hour(), at.Minute(), weekday} {
				if got := programs[i].Number(r); got != float64(want) {
					t.Fatalf("%s of %v: %v, want %d", programs[i], at, got, want)
				}
			}
		}
		r.Numbers[0] = 1e300
		if x := programs[0].Number(r); x == x {
			t.Errorf("the year of 1e300 is %v", x)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	for _, text := range []string{
		"amount > 100 and channel in ['pos', 'web', 'atm'] ? log1p(amount) : 0", "clamp(amount / (count + 1), 0, 10) ** 2",
		"weekday(at) >= 6 or hour(at, 'Europe/Paris') < 6", "hash(channel, 100) + hash(count, 100)", "min(amount, count, none ?? 1)",
		"channel contains 'eb' or channel endsWith 'x'", "channel matches '^ [A-Z]eb'", "len(trim(channel)) % 2 == 0", "epoch(at - 60)",
		"is_null(nobody) and nobody == channel",
	} {
		p, r := must(t, text, testEnv), testRow()
		if n := testing.AllocsPerRun(100, func() { p.Number(r) }); n != 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
	p, r := must(t, "web ? trim(channel) : nobody ?? 'x'", testEnv), testRow()
	if n := testing.AllocsPerRun(100, func() { p.Text(r) }); n != 0 {
		t.Errorf("%s: %v allocations", p, n)
	}
}

func TestManyGoroutines(t *testing.T) {
	p := must(t, "channel matches '(?i)web' and amount > 100 ? hash(channel, 1000) : 0", testEnv)
	want := p.Number(testRow())
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			r := testRow()
			for range 200 {
				if got := p.Number(r); got != want {
					t.Errorf("got %v, want %v", got, want)
					return
				}
			}
		})
	}
	group.Wait()
}

// go test -bench Number ./featurestore/expression
func BenchmarkNumber(b *testing.B) {
	for _, text := range []string{"amount > 100", "amount > 100 and channel in ['pos', 'web'] ? log1p(amount) : 0", "weekday(at) >= 6"} {
		p, r := must(b, text, testEnv), testRow()
		b.Run("text="+strings.ReplaceAll(text, " ", ""), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Number(r)
			}
		})
	}
}
