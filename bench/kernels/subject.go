// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"

	"github.com/millrace-ml/millrace/bench/kernels/turns"
	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// write puts a model into a folder of its own, which it returns.
func (l *Lab) write(name string, m *onnx.Model) (dir string, err error) {
	l.models++
	name = fmt.Sprintf("%s-%d", name, l.models)
	if err := zoo.Write(l.Folder, name, 1, m); err != nil {
		return "", err
	}
	return filepath.Join(l.Folder, name, strconv.Itoa(1)), nil
}

// opened is a model that a backend holds open.
type opened struct {
	engine.Model
	backend string
}

func open(ctx context.Context, b engine.Backend, dir string) (opened, error) {
	m, err := b.Load(ctx, dir, &modelconfig.Config{Name: filepath.Base(filepath.Dir(dir)), Backend: b.Name()})
	if err != nil {
		return opened{}, fmt.Errorf("%s: %w", b.Name(), err)
	}
	return opened{m, b.Name()}, nil
}

// inputs are the data of a model's inputs, in the order of its signature, for one run.
type inputs []tensor.Tensor

// subject is a model bound to the shapes of its inputs, which come in turn when there
// are several.
type subject struct {
	backend  string
	instance engine.Instance
	binding  *engine.Binding
	shapes   []tensor.Shape
	sets     []inputs
	at       int
}

// bind makes an instance on one thread and binds it. Of several sets of inputs, which
// have the same shapes, each run takes the next one.
func (m opened) bind(sets ...inputs) (*subject, error) {
	in, err := m.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 1})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.backend, err)
	}
	s := &subject{backend: m.backend, instance: in, sets: sets}
	for _, t := range sets[0] {
		s.shapes = append(s.shapes, t.Shape)
	}
	if s.binding, err = in.Bind(s.shapes); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", m.backend, err), in.Close())
	}
	return s, s.fill(0)
}

// fill writes a set of inputs to where the run reads them.
func (s *subject) fill(set int) error {
	for i := range s.sets[set] {
		if n := copy(s.binding.Inputs[i].Data, s.sets[set][i].Data); n != len(s.sets[set][i].Data) {
			return fmt.Errorf("%s: input %q takes %d bytes, not %d", s.backend, s.binding.Inputs[i].Name, n, len(s.sets[set][i].Data))
		}
	}
	return nil
}

// run does one run. Writing the inputs is a part of it where they change.
func (s *subject) run() error {
	if len(s.sets) > 1 {
		if s.at++; s.at == len(s.sets) {
			s.at = 0
		}
		if err := s.fill(s.at); err != nil {
			return err
		}
	}
	return s.instance.Run(context.Background(), s.binding)
}

// bindAndRun is run of a caller who does not know that the shapes are those of before.
func (s *subject) bindAndRun() error {
	b, err := s.instance.Bind(s.shapes)
	if err != nil {
		return err
	}
	s.binding = b
	return s.run()
}

// contender times runs of so many rows each.
func (s *subject) contender(name string, rows int) turns.Contender {
	return turns.Contender{Name: name, Run: s.run, Work: float64(rows)}
}

// outputsOf runs one set of inputs and gives the values of all outputs.
func (s *subject) outputsOf(set int) ([]float64, error) {
	if err := s.fill(set); err != nil {
		return nil, err
	}
	if err := s.instance.Run(context.Background(), s.binding); err != nil {
		return nil, fmt.Errorf("%s: %w", s.backend, err)
	}
	var values []float64
	for _, out := range s.binding.Outputs {
		list, err := numbers(out)
		if err != nil {
			return nil, fmt.Errorf("%s: output %q: %w", s.backend, out.Name, err)
		}
		values = append(values, list...)
	}
	return values, nil
}

// numbers are the elements of a tensor.
func numbers(t tensor.Tensor) ([]float64, error) {
	size := t.Datatype.Size()
	order := binary.LittleEndian
	var read func(b []byte) float64
	switch t.Datatype {
	case tensor.FP32:
		read = func(b []byte) float64 { return float64(math.Float32frombits(order.Uint32(b))) }
	case tensor.BF16:
		read = func(b []byte) float64 { return float64(math.Float32frombits(uint32(order.Uint16(b)) << 16)) }
	case tensor.Int32:
		read = func(b []byte) float64 { return float64(int32(order.Uint32(b))) }
	case tensor.Int64:
		read = func(b []byte) float64 { return float64(int64(order.Uint64(b))) }
	case tensor.Uint8:
		read = func(b []byte) float64 { return float64(b[0]) }
	default:
		return nil, fmt.Errorf("%s cannot be compared", t.Datatype)
	}
	values := make([]float64, len(t.Data)/size)
	for i := range values {
		values[i] = read(t.Data[i*size:])
	}
	return values, nil
}

// pair is a model in both engines, on the same inputs.
type pair struct {
	native, other *subject
	models        []opened
}

// both opens a model in both engines.
func (l *Lab) both(ctx context.Context, name string, m *onnx.Model, sets ...inputs) (*pair, error) {
	dir, err := l.write(name, m)
	if err != nil {
		return nil, err
	}
	p := &pair{}
	for _, b := range []engine.Backend{l.Native, l.Peer} {
		m, err := open(ctx, b, dir)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", name, err), p.close())
		}
		p.models = append(p.models, m)
	}
	if err := p.rebind(sets...); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), p.close())
	}
	return p, nil
}

// rebind takes other inputs.
func (p *pair) rebind(sets ...inputs) error {
	err := p.closeSubjects()
	for i, to := range []**subject{&p.native, &p.other} {
		if err == nil {
			*to, err = p.models[i].bind(sets...)
		}
	}
	return err
}

// agree runs every set of inputs in both engines and compares their outputs, which may
// differ by tolerance times the larger of the value and 1. It returns their sum.
func (p *pair) agree(tolerance float64) (sum float64, err error) {
	for set := range p.native.sets {
		got, err := p.native.outputsOf(set)
		if err != nil {
			return 0, err
		}
		want, err := p.other.outputsOf(set)
		if err != nil {
			return 0, err
		}
		if err := agree(got, want, tolerance); err != nil {
			return 0, fmt.Errorf("%s and %s, inputs %d: %w", p.native.backend, p.other.backend, set, err)
		}
		for _, v := range got {
			sum += v
		}
	}
	return sum, nil
}

// agree compares values, which may differ by tolerance times the larger of the value
// and 1.
func agree(got, want []float64, tolerance float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("%w: %d values and %d", ErrOutputsDiffer, len(got), len(want))
	}
	for i, w := range want {
		if g := got[i]; g != w && !(math.Abs(g-w) <= tolerance*max(1, math.Abs(w))) {
			return fmt.Errorf("%w: value %d is %g and %g", ErrOutputsDiffer, i, g, w)
		}
	}
	return nil
}

func (p *pair) closeSubjects() error {
	var problems []error
	for _, s := range []**subject{&p.native, &p.other} {
		if *s != nil {
			problems = append(problems, (*s).instance.Close())
			*s = nil
		}
	}
	return errors.Join(problems...)
}

func (p *pair) close() error {
	problems := []error{p.closeSubjects()}
	for _, m := range p.models {
		problems = append(problems, m.Close())
	}
	return errors.Join(problems...)
}
