// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"archive/zip"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// array is an array of NumPy. The format is documented at
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html: a magic
// string, a version, and the text of a Python dictionary before the elements.
type array struct {
	// kind is NumPy's letter: b bool, i and u integers, f floats, S bytes, U text.
	kind  byte
	size  int // bytes of one element
	shape tensor.Shape
	data  []byte
	// columns says that the first index varies fastest.
	columns bool
}

// headerBytesMax bounds the text of the header; NumPy's own bound is 10000.
const headerBytesMax = 1 << 16

var (
	descrPattern   = regexp.MustCompile(`'descr':\s*'([<>|=]?)([a-zA-Z])(\d*)'`)
	fortranPattern = regexp.MustCompile(`'fortran_order':\s*(True|False)`)
	shapePattern   = regexp.MustCompile(`'shape':\s*\(([\d,\s]*)\)`)
)

// parseArray reads the content of an .npy file.
func parseArray(data []byte) (*array, error) {
	if len(data) < 10 || string(data[:6]) != "\x93NUMPY" {
		return nil, errors.New("this is not an .npy file")
	}
	at, length := 10, uint64(binary.LittleEndian.Uint16(data[8:]))
	if data[6] >= 2 { // the length has four bytes since version 2
		if len(data) < 12 {
			return nil, errors.New("the file ends inside its header")
		}
		at, length = 12, uint64(binary.LittleEndian.Uint32(data[8:]))
	}
	if length > headerBytesMax || uint64(len(data)-at) < length {
		return nil, fmt.Errorf("a header of %d bytes", length)
	}
	a, err := parseHeader(string(data[at : at+int(length)]))
	if err != nil {
		return nil, err
	}
	a.data = data[at+int(length):]
	elements, err := a.shape.Elements()
	if err != nil {
		return nil, err
	}
	if a.size > 0 && elements > math.MaxInt64/int64(a.size) || elements*int64(a.size) != int64(len(a.data)) {
		return nil, fmt.Errorf("%d bytes of data, shape %v of %d bytes each needs another number", len(a.data), a.shape, a.size)
	}
	return a, nil
}

func parseHeader(text string) (*array, error) {
	descr, order, shape := descrPattern.FindStringSubmatch(text), fortranPattern.FindStringSubmatch(text), shapePattern.FindStringSubmatch(text)
	if descr == nil || order == nil || shape == nil {
		return nil, fmt.Errorf("header %.100q is not of a plain array", text)
	}
	if descr[1] == ">" {
		return nil, errors.New(`big-endian elements: store the array with .astype("<f4") or the like`)
	}
	a := &array{kind: descr[2][0], columns: order[1] == "True"}
	size, err := strconv.Atoi(descr[3])
	if err != nil || size < 1 || size > 1<<20 {
		return nil, fmt.Errorf("elements of type %s%s", descr[2], descr[3])
	}
	if a.size = size; a.kind == 'U' {
		a.size = 4 * size
	}
	valid := map[byte]string{'b': "1", 'i': "1 2 4 8", 'u': "1 2 4 8", 'f': "2 4 8", 'S': descr[3], 'U': descr[3]}[a.kind]
	if !strings.Contains(" "+valid+" ", " "+descr[3]+" ") {
		return nil, fmt.Errorf("elements of type %s%s: numbers, booleans and texts are read", descr[2], descr[3])
	}
	for part := range strings.SplitSeq(shape[1], ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		extent, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("extent %q", part)
		}
		a.shape = append(a.shape, extent)
	}
	return a, nil
}

// readNPZ reads the arrays of an archive, each in a file of its name.
func readNPZ(f *os.File, o Options) (*Data, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(f, info.Size())
	if err != nil {
		return nil, err
	}
	arrays := make(map[string]*array)
	for _, member := range archive.File {
		name, ok := strings.CutSuffix(member.Name, ".npy")
		if !ok {
			continue
		}
		if arrays[name], err = readMember(member); err != nil {
			return nil, fmt.Errorf("array %q: %w", name, err)
		}
	}
	return fromArrays(arrays, o)
}

func readMember(member *zip.File) (*array, error) {
	r, err := member.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := readLimited(r)
	if err != nil {
		return nil, err
	}
	return parseArray(data)
}

// count is the number of elements, whose product was checked.
func (a *array) count() int {
	n, _ := a.shape.Elements()
	return int(n)
}

// element is the place of element i in row-major order.
func (a *array) element(i int) []byte {
	if a.columns {
		at, stride := 0, a.count()
		for axis := len(a.shape) - 1; axis >= 0; axis-- {
			extent := int(a.shape[axis])
			stride /= extent
			at += i % extent * stride
			i /= extent
		}
		i = at
	}
	return a.data[i*a.size : (i+1)*a.size]
}

// tensor converts the elements to a datatype, as long as none loses its value: floats
// may be rounded, whole numbers may become floats and floats that are whole numbers
// integers.
func (a *array) tensor(d tensor.Datatype, allowNaN bool) (tensor.Tensor, error) {
	t := tensor.Tensor{Datatype: d, Shape: a.shape}
	if t.Shape == nil {
		t.Shape = tensor.Shape{}
	}
	if same := d == tensor.FP32 && a.size == 4 || d == tensor.FP64 && a.size == 8; a.kind == 'f' && same && !a.columns {
		t.Data = a.data // New looks for NaN
		return t, nil
	}
	width := 1
	for _, extent := range a.shape[min(1, len(a.shape)):] {
		width *= int(extent)
	}
	for i := range a.count() {
		data, err := a.convert(t.Data, d, i, allowNaN)
		if err != nil {
			return t, fmt.Errorf("row %d, column %d (counted from 0): %w", i/width, i%width, err)
		}
		t.Data = data
	}
	return t, nil
}

func (a *array) convert(data []byte, d tensor.Datatype, i int, allowNaN bool) ([]byte, error) {
	text := a.kind == 'S' || a.kind == 'U'
	switch {
	case text != (d == tensor.Bytes):
		return nil, fmt.Errorf("elements of type %c for an input of %s", a.kind, d)
	case text:
		s, err := a.text(i)
		return tensor.AppendBytes(data, []byte(s)), err
	case d == tensor.FP16 || d == tensor.BF16:
		return nil, fmt.Errorf("inputs of %s are not read from arrays: use JSON", d)
	case d == tensor.FP32 || d == tensor.FP64:
		return appendCell(data, d, a.number(i), allowNaN)
	}
	return appendCell(data, d, a.number(i), allowNaN)
}

// number is element i as text, which holds any of them exactly.
func (a *array) number(i int) string {
	e := a.element(i)
	switch a.kind {
	case 'b':
		return strconv.Itoa(int(min(e[0], 1)))
	case 'u':
		return strconv.FormatUint(whole(e), 10)
	case 'i':
		shift := 64 - 8*a.size
		return strconv.FormatInt(int64(whole(e)<<shift)>>shift, 10)
	}
	x := math.Float64frombits(whole(e))
	bits := 64
	switch a.size {
	case 2:
		x, bits = float64(tensor.FP16ToFloat32(uint16(whole(e)))), 32
	case 4:
		x, bits = float64(math.Float32frombits(uint32(whole(e)))), 32
	}
	if x == math.Trunc(x) && math.Abs(x) < 1<<53 {
		return strconv.FormatFloat(x, 'f', 0, bits)
	}
	return strconv.FormatFloat(x, 'g', -1, bits)
}

// whole is the element's bits as a number.
func whole(e []byte) uint64 {
	var all [8]byte
	copy(all[:], e)
	return binary.LittleEndian.Uint64(all[:])
}

// text is element i of an array of texts, which NumPy fills with zeros.
func (a *array) text(i int) (string, error) {
	e := a.element(i)
	if a.kind == 'S' {
		return strings.TrimRight(string(e), "\x00"), nil
	}
	var b strings.Builder
	for ; len(e) >= 4; e = e[4:] {
		r := rune(binary.LittleEndian.Uint32(e))
		if r == 0 {
			break
		}
		if !utf8.ValidRune(r) {
			return "", errors.New("text that is not valid")
		}
		b.WriteRune(r)
	}
	return b.String(), nil
}

// texts are the elements of an array of one label for each row.
func (a *array) texts() ([]string, error) {
	if len(a.shape) == 0 || len(a.shape) > 2 || len(a.shape) == 2 && a.shape[1] != 1 {
		return nil, fmt.Errorf("shape %v: labels are one for each row", a.shape)
	}
	list := make([]string, a.count())
	for i := range list {
		var err error
		if a.kind == 'S' || a.kind == 'U' {
			list[i], err = a.text(i)
		} else if list[i] = a.number(i); list[i] == "NaN" {
			err = errors.New("NaN")
		}
		if err != nil {
			return nil, fmt.Errorf("row %d (counted from 0): %w", i, err)
		}
	}
	return list, nil
}
