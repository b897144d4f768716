// SPDX-License-Identifier: Apache-2.0

package optimize

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// chooser gives every product its form.
type chooser struct {
	model    *onnx.Model
	products []*product
	options  *Options
	choices  []choice
	layers   []Layer
	captures map[string]*captured
}

// choose gives every product its form, and measures what that costs.
func (c *chooser) choose(ctx context.Context) error {
	if err := c.plan(); err != nil {
		return err
	}
	if changed := c.changed(); c.options.CalibrationData != nil && len(changed) > 0 {
		var err error
		histograms := c.options.Quantize == QuantizeStatic && c.options.Calibration != CalibrateMinMax
		if c.captures, err = calibrate(ctx, c.model, changed, histograms, c.options); err != nil {
			return err
		}
	}
	for i := range c.products {
		if err := c.settle(ctx, i); err != nil {
			return fmt.Errorf("node %q: %w", c.products[i].name, err)
		}
		c.options.Progress("measuring products", i+1, len(c.products))
	}
	c.setOutputs()
	return nil
}

// plan decides by what is known of the graph alone.
func (c *chooser) plan() error {
	wanted := FormFloat
	switch {
	case c.options.Quantize == QuantizeDynamic:
		wanted = FormDynamic
	case c.options.Quantize == QuantizeStatic:
		wanted = FormStatic
	case c.options.Weights == WeightsBF16:
		wanted = FormBF16
	}
	kept, err := c.kept()
	if err != nil {
		return err
	}
	for i, p := range c.products {
		ch := choice{form: wanted}
		switch list, ok := floatsOf(p.weights); {
		case wanted == FormFloat:
		case kept[i]:
			ch = choice{form: FormFloat, reason: "kept"}
		case p.problem != "":
			ch = choice{form: FormFloat, reason: p.problem}
		case int64(p.k)*int64(p.n) < c.options.WeightsMin:
			ch = choice{form: FormFloat, reason: "too small to gain"}
		case !ok || !finite(list):
			ch = choice{form: FormFloat, reason: "its weights are not all finite"}
		}
		c.choices = append(c.choices, ch)
	}
	return c.checkOpset()
}

// kept are the products that Options.Keep names.
func (c *chooser) kept() ([]bool, error) {
	kept := make([]bool, len(c.products))
	for _, text := range c.options.Keep {
		expression, some := pattern(text), false
		for i, p := range c.products {
			if p.matches(expression) {
				kept[i], some = true, true
			}
		}
		if !some {
			return nil, fmt.Errorf("keep %q: no product of that name; there are %s", text, c.names())
		}
	}
	return kept, nil
}

// namesMax bounds how many names an error lists.
const namesMax = 20

func (c *chooser) names() string {
	if len(c.products) == 0 {
		return "none with constant weights"
	}
	text := ""
	for i, p := range c.products {
		if i == namesMax {
			return fmt.Sprintf("%s and %d more", text, len(c.products)-i)
		}
		if i > 0 {
			text += ", "
		}
		text += p.name
	}
	return text
}

// checkOpset refuses a model whose operators are older than its forms.
func (c *chooser) checkOpset() error {
	have := c.model.Opset("")
	for _, ch := range c.choices {
		forms := []Form{ch.form}
		if ch.form != FormFloat && c.options.Weights == WeightsBF16 {
			forms = append(forms, FormBF16)
		}
		for _, form := range forms {
			if have < opsetMin[form] {
				return fmt.Errorf("the model imports operators of opset %d, form %s needs %d: export it with opset %d or later", have, form, opsetMin[form], opsetMin[form])
			}
		}
	}
	return nil
}

// changed are the products that are to have another form.
func (c *chooser) changed() []*product {
	var list []*product
	for i, p := range c.products {
		if c.choices[i].form != FormFloat {
			list = append(list, p)
		}
	}
	return list
}

// settle measures the form of a product, and falls back to another where its error is
// too large.
func (c *chooser) settle(ctx context.Context, i int) error {
	p, ch := c.products[i], &c.choices[i]
	layer := Layer{Name: p.name, Operator: p.node.OpType, Weights: p.weightsName, Rows: p.k, Columns: p.n}
	if ch.form == FormStatic {
		c.setInput(i, &layer)
	}
	for ch.form != FormFloat {
		relative, err := c.measure(ctx, i)
		if err != nil {
			return err
		}
		if c.options.MaxError == 0 || relative <= c.options.MaxError {
			layer.setError(relative)
			break
		}
		ch.reason = fmt.Sprintf("as %s its error is %.4g", ch.form, relative)
		if ch.form != FormBF16 && c.options.Weights == WeightsBF16 {
			ch.form = FormBF16
		} else {
			ch.form = FormFloat
		}
	}
	layer.Form, layer.Reason = ch.form, ch.reason
	c.layers = append(c.layers, layer)
	return nil
}

// setInput makes the range of a product's input from what calibration saw.
func (c *chooser) setInput(i int, layer *Layer) {
	seen, ch := c.captures[c.products[i].x], &c.choices[i]
	switch {
	case seen.broken:
		*ch = choice{form: FormFloat, reason: "its input has values that are not finite"}
		return
	case seen.count == 0:
		*ch = choice{form: FormFloat, reason: "the data gives it no input"}
		return
	}
	input, r, ok := c.rangeOf(seen, c.products[i].bounds)
	if !ok {
		*ch = choice{form: FormFloat, reason: "no range of 8 bits fits the bounds of the Clip before it"}
		return
	}
	ch.input, layer.Input = input, r
}

// rangeOf is how a value is quantised. All that a Clip made must stay within its
// bounds: then the Clip changes nothing before the rounding, and ONNX Runtime makes one
// kernel of the product, the Clip and the rounding. Else version 1.30 fails to load the
// model.
func (c *chooser) rangeOf(seen *captured, bounds *clipBounds) (affine, *Range, bool) {
	low, high := seen.bounds(c.options.Calibration, c.options.Percentile)
	a := affineOf(low, high, c.options.Activations == ActivationsS8)
	if bounds != nil {
		ok := bounds.known
		if ok {
			a, ok = a.within(bounds.low, bounds.high)
		}
		if !ok {
			return a, nil, false
		}
	}
	return a, &Range{Low: low, High: high, SeenLow: seen.low, SeenHigh: seen.high, Scale: a.scale, Zero: a.zero}, true
}

// setOutputs finds the products whose output has to be quantised since no quantised
// product reads it.
func (c *chooser) setOutputs() {
	read := make(map[string]bool)
	for i, p := range c.products {
		read[p.x] = read[p.x] || c.choices[i].form == FormStatic
	}
	for i, p := range c.products {
		if c.choices[i].form != FormStatic || p.clipped == "" || p.addend != "" || read[p.clipped] {
			continue
		}
		if seen := c.captures[p.clipped]; !seen.broken {
			if a, r, ok := c.rangeOf(seen, p.clippedTo); ok {
				c.choices[i].output, c.layers[i].Output = &a, r
			}
		}
	}
}

// measure is the error of a product's own output in its form, relative to that in
// float, on the rows that calibration kept; without any that of its weights.
func (c *chooser) measure(ctx context.Context, i int) (float64, error) {
	p := c.products[i]
	seen := c.captures[p.x]
	if seen == nil || len(seen.samples) == 0 {
		return c.weightError(p, c.choices[i].form)
	}
	alone, err := p.alone(c.model.Opset(""))
	if err != nil {
		return 0, err
	}
	changed, err := apply(alone, findProducts(alone.Graph), []choice{{form: c.choices[i].form, input: c.choices[i].input}}, c.options)
	if err != nil {
		return 0, err
	}
	rows := len(seen.samples) / seen.width
	x := tensorOf("x", seen.samples, int64(rows), int64(p.k))
	before, err := runOnce(ctx, c.options.Engines, alone, x)
	if err != nil {
		return 0, err
	}
	after, err := runOnce(ctx, c.options.Engines, changed, x)
	if err != nil {
		return 0, err
	}
	return relativeError(before, after), nil
}

func tensorOf(name string, values []float32, dims ...int64) tensor.Tensor {
	t := onnx.TensorOf(name, values, dims...)
	return tensor.Tensor{Name: name, Datatype: tensor.FP32, Shape: dims, Data: t.Raw}
}

// runOnce runs a model of one float output.
func runOnce(ctx context.Context, engines []Engine, m *onnx.Model, x tensor.Tensor) (values []float32, err error) {
	r, err := startAny(ctx, engines, m)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	outputs, err := r.run(ctx, []tensor.Tensor{x})
	if err != nil {
		return nil, err
	}
	return decodeFloats(outputs[0].Data), nil
}

// weightError is what a form changes of the weights.
func (c *chooser) weightError(p *product, form Form) (float64, error) {
	list, err := p.matrix()
	if err != nil {
		return 0, err
	}
	changed := make([]float32, len(list))
	if form == FormBF16 {
		for i, x := range list {
			changed[i] = widenBF16(roundBF16(x))
		}
		return relativeError(list, changed), nil
	}
	q, scales := quantizeWeights(list, p.n, c.options.PerTensor, c.options.largest())
	for i := range q {
		changed[i] = float32(q[i]) * scales[i%p.n%len(scales)]
	}
	return relativeError(list, changed), nil
}

// setError notes an error, and the same as the ratio of signal to noise.
func (l *Layer) setError(relative float64) {
	l.Error = &relative
	if relative > 0 {
		sqnr := -20 * math.Log10(relative)
		l.SQNR = &sqnr
	}
}
