// SPDX-License-Identifier: Apache-2.0

package tabular_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/cpu"
)

// svm is a machine made up at random.
type svm struct {
	kernel              string
	gamma, coef0        float32
	degree              float32
	classes, features   int
	perClass            []int64
	vectors             []float32
	coefficients, rho   []float32
	probA, probB        []float32
	transform           string
	texts               bool
	input               tensor.Datatype
	regressor, oneClass bool
}

func randomSVM(r *rand.Rand) *svm {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	m := &svm{
		kernel: pick("LINEAR", "POLY", "RBF", "SIGMOID"), gamma: 0.05 + r.Float32()/4, coef0: r.Float32(),
		degree: float32(1 + r.IntN(4)), classes: 2 + r.IntN(4), features: 1 + r.IntN(20),
		transform: pick("NONE", "NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"), texts: r.IntN(2) == 0,
		input: []tensor.Datatype{tensor.FP32, tensor.FP32, tensor.FP64, tensor.Int64}[r.IntN(4)],
	}
	if m.regressor = r.IntN(3) == 0; m.regressor {
		m.classes, m.transform, m.oneClass, m.input = 2, "NONE", r.IntN(3) == 0, tensor.FP32
	}
	total := 0
	for range m.classes {
		m.perClass = append(m.perClass, int64(1+r.IntN(30)))
		total += int(m.perClass[len(m.perClass)-1])
	}
	numbers := func(n int) []float32 {
		list := make([]float32, n)
		for i := range list {
			list[i] = float32(r.NormFloat64())
		}
		return list
	}
	pairs := m.classes * (m.classes - 1) / 2
	m.vectors, m.coefficients, m.rho = numbers(total*m.features), numbers(total*(m.classes-1)), numbers(pairs)
	if !m.regressor && r.IntN(2) == 0 {
		m.probA, m.probB = numbers(pairs), numbers(pairs)
	}
	return m
}

func (m *svm) model() ([]byte, error) {
	b := onnx.NewBuilder("svm")
	b.Opset("ai.onnx.ml", 1)
	b.Input("x", m.input, onnx.Unknown(), onnx.Extent(int64(m.features)))
	attributes := []onnx.Attribute{
		onnx.StringAttribute("kernel_type", m.kernel), onnx.FloatsAttribute("kernel_params", m.gamma, m.coef0, m.degree),
		onnx.FloatsAttribute("support_vectors", m.vectors...), onnx.FloatsAttribute("coefficients", m.coefficients...),
		onnx.FloatsAttribute("rho", m.rho...), onnx.StringAttribute("post_transform", m.transform),
	}
	if m.regressor {
		one := int64(0)
		if m.oneClass {
			one = 1
		}
		b.DomainNode("ai.onnx.ml", "SVMRegressor", []string{"x"}, []string{"scores"}, append(attributes,
			onnx.IntAttribute("n_supports", int64(len(m.coefficients))), onnx.IntAttribute("one_class", one))...)
		b.Output("scores", tensor.FP32, onnx.Unknown(), onnx.Unknown())
		return b.Marshal()
	}
	attributes = append(attributes, onnx.IntsAttribute("vectors_per_class", m.perClass...))
	if m.probA != nil {
		attributes = append(attributes, onnx.FloatsAttribute("prob_a", m.probA...), onnx.FloatsAttribute("prob_b", m.probB...))
	}
	label := tensor.Int64
	if m.texts {
		label = tensor.Bytes
		attributes = append(attributes, onnx.StringsAttribute("classlabels_strings", strings.Split("a,b,c,d,e", ",")[:m.classes]...))
	} else {
		attributes = append(attributes, onnx.IntsAttribute("classlabels_ints", []int64{10, 11, 12, 13, 14}[:m.classes]...))
	}
	b.DomainNode("ai.onnx.ml", "SVMClassifier", []string{"x"}, []string{"label", "scores"}, attributes...)
	b.Output("label", label, onnx.Unknown())
	b.Output("scores", tensor.FP32, onnx.Unknown(), onnx.Unknown())
	return b.Marshal()
}

// reference is the class and scores of a row, in float64. sure is false where the class
// hangs on rounding, and scores are nil where they hang on when a search ends.
func (m *svm) reference(x []float64) (class int, scores []float64, sure bool) {
	total := len(m.vectors) / m.features
	k := make([]float64, total)
	for i := range k {
		k[i] = m.compare(x, m.vectors[i*m.features:(i+1)*m.features])
	}
	if m.regressor {
		sum := float64(m.rho[0])
		for i, c := range m.coefficients {
			sum += float64(c) * k[i]
		}
		if sure = math.Abs(sum) > 1e-3; m.oneClass {
			sum = math.Copysign(1, sum)
		}
		return 0, []float64{sum}, sure || !m.oneClass
	}
	votes, first := make([]int, m.classes), make([]int, m.classes+1)
	for i, n := range m.perClass {
		first[i+1] = first[i] + int(n)
	}
	sure = true
	for i := range m.classes {
		for j := i + 1; j < m.classes; j++ {
			sum := float64(m.rho[len(scores)])
			for v := first[i]; v < first[i+1]; v++ {
				sum += float64(m.coefficients[(j-1)*total+v]) * k[v]
			}
			for v := first[j]; v < first[j+1]; v++ {
				sum += float64(m.coefficients[i*total+v]) * k[v]
			}
			scores = append(scores, sum)
			sure = sure && math.Abs(sum) > 1e-3
			if sum > 0 {
				votes[i]++
			} else {
				votes[j]++
			}
		}
	}
	for i, n := range votes {
		if n > votes[class] {
			class = i
		}
	}
	if m.extreme(scores) {
		return class, nil, sure
	}
	return class, m.finish(scores), sure
}

// extreme reports probabilities near 0 or 1, for which libsvm's search ends far from
// where it leads; those are held to ONNX Runtime's only.
func (m *svm) extreme(decisions []float64) bool {
	for i := range m.probA {
		if math.Abs(decisions[i]*float64(m.probA[i])+float64(m.probB[i])) > 4 {
			return true
		}
	}
	return false
}

func (m *svm) compare(x []float64, s []float32) float64 {
	dot, distance := 0.0, 0.0
	for i, v := range s {
		dot += x[i] * float64(v)
		distance += (x[i] - float64(v)) * (x[i] - float64(v))
	}
	g, c := float64(m.gamma), float64(m.coef0)
	switch m.kernel {
	case "POLY":
		return math.Pow(g*dot+c, float64(m.degree))
	case "RBF":
		return math.Exp(-g * distance)
	case "SIGMOID":
		return math.Tanh(g*dot + c)
	}
	return dot
}

// finish makes scores of decisions.
func (m *svm) finish(decisions []float64) []float64 {
	scores := decisions
	switch {
	case m.probA != nil:
		scores = m.couple(decisions)
	case m.classes == 2 && m.transform == "NONE":
		return []float64{-decisions[0], decisions[0]}
	case m.classes == 2 && m.transform == "LOGISTIC":
		return []float64{1 / (1 + math.Exp(decisions[0])), 1 / (1 + math.Exp(-decisions[0]))}
	case m.classes == 2:
		return []float64{1 - decisions[0], decisions[0]}
	}
	sum, largest := 0.0, math.Inf(-1)
	for _, x := range scores {
		largest = max(largest, x)
	}
	for i, x := range scores {
		switch m.transform {
		case "LOGISTIC":
			scores[i] = 1 / (1 + math.Exp(-x))
		case "SOFTMAX", "SOFTMAX_ZERO":
			scores[i] = math.Exp(x - largest)
			sum += scores[i]
		}
	}
	for i := range scores {
		if sum != 0 {
			scores[i] /= sum
		}
	}
	return scores
}

// couple solves for the probabilities that fit the pairwise ones best: they minimise
// the sum of (r_ji p_i - r_ij p_j)^2, found here by elimination.
func (m *svm) couple(decisions []float64) []float64 {
	n := m.classes
	r := make([][]float64, n)
	for i := range r {
		r[i] = make([]float64, n)
	}
	pair := 0
	for i := range n {
		for j := i + 1; j < n; j++ {
			p := 1 / (1 + math.Exp(decisions[pair]*float64(m.probA[pair])+float64(m.probB[pair])))
			p = min(max(p, 1e-7), 1-1e-7)
			r[i][j], r[j][i] = p, 1-p
			pair++
		}
	}
	// The equations: Q p + b = 0 for each class, and the sum of p is 1.
	a := make([][]float64, n+1)
	for i := range a {
		a[i] = make([]float64, n+2)
	}
	for i := range n {
		for j := range n {
			if j != i {
				a[i][i] += r[j][i] * r[j][i]
				a[i][j] = -r[j][i] * r[i][j]
			}
		}
		a[i][n], a[n][i] = 1, 1
	}
	a[n][n+1] = 1
	return solve(a)[:n]
}

func solve(a [][]float64) []float64 {
	n := len(a)
	for i := range n {
		best := i
		for k := i; k < n; k++ {
			if math.Abs(a[k][i]) > math.Abs(a[best][i]) {
				best = k
			}
		}
		a[i], a[best] = a[best], a[i]
		for k := range n {
			if k != i {
				f := a[k][i] / a[i][i]
				for c := i; c <= n; c++ {
					a[k][c] -= f * a[i][c]
				}
			}
		}
	}
	x := make([]float64, n)
	for i := range x {
		x[i] = a[i][n] / a[i][i]
	}
	return x
}

// load writes a model and opens it with a backend.
func load(t *testing.T, backend engine.Backend, model []byte) (engine.Instance, error) {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "model.onnx"), model, 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := backend.Load(t.Context(), folder, &modelconfig.Config{})
	if err != nil {
		return nil, err
	}
	in, err := m.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); m.Close() })
	return in, nil
}

// ask runs rows of values, of the input's type, and gives labels and scores.
func (m *svm) ask(t *testing.T, in engine.Instance, x []float64) (labels []byte, scores []float32) {
	t.Helper()
	b, err := in.Bind([]tensor.Shape{{int64(len(x) / m.features), int64(m.features)}})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range x {
		at := unsafe.Pointer(&b.Inputs[0].Data[i*m.input.Size()])
		switch m.input {
		case tensor.FP32:
			*(*float32)(at) = float32(v)
		case tensor.FP64:
			*(*float64)(at) = v
		case tensor.Int64:
			*(*int64)(at) = int64(v)
		}
	}
	if err := in.Run(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for _, out := range b.Outputs {
		if out.Name == "scores" {
			scores = append(scores, unsafe.Slice((*float32)(unsafe.Pointer(&out.Data[0])), len(out.Data)/4)...)
		} else {
			labels = append(labels, out.Data...)
		}
	}
	return labels, scores
}

func (m *svm) rows(r *rand.Rand, n int) []float64 {
	x := make([]float64, n*m.features)
	for i := range x {
		if x[i] = float64(float32(r.NormFloat64())); m.input == tensor.Int64 {
			x[i] = float64(r.IntN(5) - 2)
		}
	}
	return x
}

// label is how the label of a class stands in an output.
func (m *svm) label(class int) string {
	switch {
	case m.regressor:
		return ""
	case m.texts:
		return "\x01\x00\x00\x00" + string(rune('a'+class))
	}
	return string([]byte{byte(10 + class), 0, 0, 0, 0, 0, 0, 0})
}

// rounding is how far sums that cancel may be off.
func (m *svm) rounding() float64 {
	b := 2e-6
	if m.kernel == "POLY" || m.kernel == "LINEAR" {
		b = 1e-5
	}
	for _, c := range m.coefficients {
		b += 2e-7 * math.Abs(float64(c))
		if m.kernel == "POLY" {
			b += 2e-5 * math.Abs(float64(c))
		}
	}
	return b
}

// bound adds to rounding where the search for probabilities ends, which is within
// 0.005 over all classes of a condition on them.
func (m *svm) bound() float64 {
	if m.probA != nil {
		return m.rounding() + 0.01
	}
	return m.rounding()
}

func TestSVM(t *testing.T) {
	for _, level := range cpu.Available() {
		t.Run("isa="+level.String(), func(t *testing.T) {
			defer cpu.Limit(level)()
			for seed := range uint64(60) {
				r := rand.New(rand.NewPCG(seed, 1))
				m := randomSVM(r)
				file, err := m.model()
				if err != nil {
					t.Fatal(err)
				}
				in, err := load(t, native.Backend{}, file)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				for _, rows := range []int{1, 5, 70} {
					x := m.rows(r, rows)
					labels, scores := m.ask(t, in, x)
					m.check(t, fmt.Sprintf("seed %d, %s, %d rows", seed, m.kernel, rows), x, string(labels), scores)
				}
			}
		})
	}
}

func (m *svm) check(t *testing.T, what string, x []float64, labels string, scores []float32) {
	t.Helper()
	rows := len(x) / m.features
	width, bound := len(scores)/rows, m.bound()
	for i := range rows {
		class, want, sure := m.reference(x[i*m.features : (i+1)*m.features])
		each := len(labels) / rows
		if got := labels[i*each : (i+1)*each]; sure && got != m.label(class) {
			t.Fatalf("%s, row %d: label %q, want %q", what, i, got, m.label(class))
		}
		if want != nil && len(want) != width {
			t.Fatalf("%s: %d scores, want %d", what, width, len(want))
		}
		for k, s := range want {
			if got := float64(scores[i*width+k]); sure && !(math.Abs(got-s) <= bound*(1+math.Abs(s))) {
				t.Fatalf("%s, row %d, score %d: %g, want %g within %g", what, i, k, got, s, bound)
			}
		}
	}
}

// TestSVMAsONNXRuntime holds the scores to ONNX Runtime's, which settles what the
// standard leaves open: the order of scores, and what two classes have.
func TestSVMAsONNXRuntime(t *testing.T) {
	other := onnxrttest.Backend(t)
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 2))
		m := randomSVM(r)
		file, err := m.model()
		if err != nil {
			t.Fatal(err)
		}
		a, err := load(t, native.Backend{}, file)
		if err != nil {
			t.Fatal(err)
		}
		b, err := load(t, other, file)
		if err != nil {
			t.Fatalf("seed %d: ONNX Runtime: %v", seed, err)
		}
		x := m.rows(r, 9)
		labels, scores := m.ask(t, a, x)
		theirLabels, theirs := m.ask(t, b, x)
		sure := true
		for i := range 9 {
			_, _, s := m.reference(x[i*m.features : (i+1)*m.features])
			sure = sure && s
		}
		if sure && string(labels) != string(theirLabels) {
			t.Errorf("seed %d: labels %q, ONNX Runtime has %q", seed, labels, theirLabels)
		}
		bound := 4 * m.rounding()
		for i, s := range theirs {
			if sure && !(math.Abs(float64(scores[i]-s)) <= bound*(1+math.Abs(float64(s)))) {
				t.Fatalf("seed %d, %s: score %d is %g, ONNX Runtime has %g", seed, m.kernel, i, scores[i], s)
			}
		}
	}
}

func TestSVMsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(m *svm)
	}{
		{"kernel_type", func(m *svm) { m.kernel = "WAVELET" }},
		{"coefficients", func(m *svm) { m.coefficients = m.coefficients[1:] }},
		{"values of", func(m *svm) { m.vectors = m.vectors[1:] }},
		{"rho has", func(m *svm) { m.rho = append(m.rho, 1) }},
		{"prob_a", func(m *svm) { m.probA, m.probB = []float32{1}, nil }},
		{"vectors_per_class", func(m *svm) { m.perClass[0] = -1 }},
		{"vectors_per_class", func(m *svm) { m.perClass[0] = math.MaxInt64 }},
		{"vectors_per_class", func(m *svm) { m.perClass = m.perClass[1:] }},
		{"post_transform", func(m *svm) { m.transform = "CUBE" }},
		{"for 3 features", func(m *svm) { m.vectors, m.features = m.vectors[:3*len(m.vectors)/m.features], 5 }},
	} {
		r := rand.New(rand.NewPCG(9, 9))
		m := randomSVM(r)
		for m.regressor || m.kernel != "RBF" || m.features < 6 {
			m = randomSVM(r)
		}
		c.change(m)
		file, err := m.model()
		if err != nil {
			t.Fatal(err)
		}
		_, err = load(t, native.Backend{}, file)
		if !errors.Is(err, engine.ErrInvalidModel) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "SVMClassifier") {
			t.Errorf("%s: error %v", c.want, err)
		}
	}
}
