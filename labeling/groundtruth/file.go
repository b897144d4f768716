// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Format is that of a file of feedback.
type Format uint8

const (
	// FormatJSONLines has an object of ParseJSON on each line.
	FormatJSONLines Format = iota + 1
	// FormatCSV has a header with the names of ParseJSON's fields. Keys of entities are
	// columns named entity.KEY; empty cells are absent. A value is true, false, a number,
	// or else a class; value_type says otherwise.
	FormatCSV
	// FormatSageMaker is the ground truth of SageMaker Model Monitor, a line each:
	// {"groundTruthData": {"data": "1", "encoding": "CSV"},
	//  "eventMetadata": {"eventId": "..."}, "eventVersion": "0"}
	// eventId is the prediction id; name and source are the reader's.
	FormatSageMaker
)

var formatNames = [...]string{FormatJSONLines: "jsonl", FormatCSV: "csv", FormatSageMaker: "sagemaker"}

// String is the name of the format.
func (f Format) String() string { return nameOf(formatNames[:], int(f)) }

// ParseFormat reads the name of a format: jsonl, csv or sagemaker.
func ParseFormat(text string) (Format, error) {
	i, err := parseName("format", formatNames[:], text)
	return Format(i), asInvalid(err)
}

// LineBytesMax is the longest line of a file, and the longest record of CSV.
const LineBytesMax = 1 << 20

// FileOptions are how a file is read.
type FileOptions struct {
	Format Format
	// Name and Source are those of feedback that has none.
	Name, Source string
}

// FileReader reads a file of feedback, one piece after another, in bounded memory. It is
// used by one goroutine.
type FileReader struct {
	options FileOptions
	lines   *bufio.Reader
	csv     *csv.Reader
	limit   *recordLimit // of csv
	header  []string
	line    int
	buffer  []byte
}

// NewFileReader reads from a file; the header of CSV is read at once.
func NewFileReader(r io.Reader, o FileOptions) (*FileReader, error) {
	f := &FileReader{options: o}
	switch o.Format {
	case FormatJSONLines, FormatSageMaker:
		f.lines = bufio.NewReaderSize(r, 64<<10)
		return f, nil
	case FormatCSV:
	default:
		return nil, fmt.Errorf("%w: format: %d is none", ErrInvalid, o.Format)
	}
	f.limit = &recordLimit{r: r}
	f.csv = csv.NewReader(f.limit)
	f.csv.ReuseRecord = true
	header, err := f.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: the file is empty; the first line of CSV names the columns", ErrInvalid)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: header of CSV: %w", ErrInvalid, err)
	}
	f.header = slices.Clone(header)
	known := []string{"feedback_id", "prediction_id", "name", "kind", "value", "value_type", "source", "event_time", "weight", "reason"}
	for i, name := range f.header {
		if i == 0 {
			name = strings.TrimPrefix(name, "\ufeff") // some spreadsheets begin with it
			f.header[0] = name
		}
		if slices.Contains(f.header[:i], name) {
			return nil, fmt.Errorf("%w: line 1: column %.80q is there twice", ErrInvalid, name)
		}
		if !slices.Contains(known, name) && (!strings.HasPrefix(name, "entity.") || name == "entity.") {
			return nil, fmt.Errorf("%w: line 1: column %.80q is none of %s or entity.KEY", ErrInvalid, name, strings.Join(known, ", "))
		}
	}
	return f, nil
}

// Next reads the next piece. The error is io.EOF at the end. After an error that wraps
// ErrInvalid, which names the line, reading may go on with the line after it.
func (f *FileReader) Next() (Feedback, error) {
	read := f.nextLine
	if f.csv != nil {
		read = f.nextRow
	}
	feedback, err := read()
	if err != nil {
		return Feedback{}, err
	}
	if feedback.Name == "" {
		feedback.Name = f.options.Name
	}
	if feedback.Source == "" {
		feedback.Source = f.options.Source
	}
	return feedback, nil
}

// Line is the line of the last piece, from 1.
func (f *FileReader) Line() int { return f.line }

func (f *FileReader) nextLine() (Feedback, error) {
	for {
		text, err := f.readLine()
		if err != nil {
			return Feedback{}, err
		}
		text = bytes.TrimSpace(text)
		if len(text) == 0 {
			continue
		}
		var feedback Feedback
		if f.options.Format == FormatSageMaker {
			feedback, err = parseSageMaker(text)
		} else {
			feedback, err = ParseJSON(text)
		}
		if err != nil {
			return feedback, fmt.Errorf("line %d: %w", f.line, err)
		}
		return feedback, nil
	}
}

// readLine reads a line; of one that is too long it reads to its end.
func (f *FileReader) readLine() ([]byte, error) {
	f.buffer = f.buffer[:0]
	f.line++
	long := false
	for {
		part, err := f.lines.ReadSlice('\n')
		if long = long || len(f.buffer)+len(part) > LineBytesMax; !long {
			f.buffer = append(f.buffer, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("line %d: %w", f.line, err)
		case long:
			return nil, fmt.Errorf("%w: line %d: has more than %d bytes", ErrInvalid, f.line, LineBytesMax)
		case err != nil && len(f.buffer) == 0:
			return nil, io.EOF
		}
		return f.buffer, nil
	}
}

// sageMaker is a line of FormatSageMaker. Other fields that it may have do not matter.
type sageMaker struct {
	Data struct {
		Data     json.RawMessage `json:"data"`
		Encoding string          `json:"encoding"`
	} `json:"groundTruthData"`
	Metadata struct {
		EventID     string `json:"eventId"`
		InferenceID string `json:"inferenceId"`
	} `json:"eventMetadata"`
}

func parseSageMaker(text []byte) (Feedback, error) {
	var m sageMaker
	if err := json.Unmarshal(text, &m); err != nil {
		return Feedback{}, fmt.Errorf("%w: JSON: %w", ErrInvalid, err)
	}
	f := Feedback{PredictionID: m.Metadata.InferenceID}
	if f.PredictionID == "" {
		f.PredictionID = m.Metadata.EventID
	}
	if f.PredictionID == "" {
		return f, fmt.Errorf("%w: eventMetadata.eventId: is required", ErrInvalid)
	}
	switch m.Data.Encoding {
	case "CSV", "":
	default:
		return f, fmt.Errorf("%w: groundTruthData.encoding: %.40q is not CSV", ErrInvalid, m.Data.Encoding)
	}
	var cell string
	if err := json.Unmarshal(m.Data.Data, &cell); err != nil {
		return f, fmt.Errorf("%w: groundTruthData.data: is no text", ErrInvalid)
	}
	if f.Value = cellValue(strings.TrimSpace(cell)); f.Value.Type == TypeNull {
		return f, fmt.Errorf("%w: groundTruthData.data: is empty", ErrInvalid)
	}
	return f, nil
}

// cellValue is a value as text has it.
func cellValue(cell string) Value {
	switch x, err := strconv.ParseFloat(cell, 64); {
	case cell == "":
		return Value{}
	case cell == "true" || cell == "false":
		return Bool(cell == "true")
	case err == nil:
		return Number(x)
	}
	return Class(cell)
}

func (f *FileReader) nextRow() (Feedback, error) {
	f.limit.size = 0
	row, err := f.csv.Read()
	if errors.Is(err, io.EOF) {
		return Feedback{}, io.EOF
	}
	if len(row) > 0 {
		f.line, _ = f.csv.FieldPos(0)
	}
	var syntax *csv.ParseError
	if errors.As(err, &syntax) {
		f.line = syntax.StartLine
		return Feedback{}, fmt.Errorf("%w: line %d: %w", ErrInvalid, f.line, syntax.Err)
	} else if err != nil {
		return Feedback{}, fmt.Errorf("after line %d: %w", f.line, err)
	}
	feedback, err := f.bindRow(row)
	if err != nil {
		return feedback, fmt.Errorf("line %d: %w", f.line, err)
	}
	return feedback, nil
}

func (f *FileReader) bindRow(row []string) (b Feedback, err error) {
	var valueType, value string
	for i, cell := range row {
		cell = strings.Clone(cell)
		if cell == "" {
			continue
		}
		switch name := f.header[i]; name {
		case "feedback_id":
			b.ID = cell
		case "prediction_id":
			b.PredictionID = cell
		case "name":
			b.Name = cell
		case "kind":
			b.Kind, err = ParseKind(cell)
		case "value":
			value = cell
		case "value_type":
			valueType = cell
		case "source":
			b.Source = cell
		case "event_time":
			b.EventTime, err = timeOf(cell)
		case "weight":
			if b.Weight, err = strconv.ParseFloat(cell, 64); err != nil {
				err = fmt.Errorf("%w: weight: %.40q is no number", ErrInvalid, cell)
			}
			b.Weighted = true
		case "reason":
			b.Reason = cell
		default:
			if b.Entity == nil {
				b.Entity = map[string]string{}
			}
			b.Entity[strings.TrimPrefix(name, "entity.")] = cell
		}
		if err != nil {
			return b, err
		}
	}
	b.Value, err = typedCell(value, valueType)
	return b, err
}

// typedCell is a value of a type that is asked for; without one the cell says.
func typedCell(cell, wanted string) (Value, error) {
	v := cellValue(cell)
	if wanted == "" {
		return v, nil
	}
	t, err := ParseValueType(wanted)
	switch {
	case err != nil:
		return v, fmt.Errorf("value_type: %w", err)
	case t == TypeClass && cell != "":
		return Class(cell), nil
	case t == TypeText && cell != "":
		return Text(cell), nil
	case v.Type == TypeNumber && t == TypeBool && (v.Number == 0 || v.Number == 1):
		return Bool(v.Number == 1), nil
	case v.Type != t:
		return v, fmt.Errorf("%w: value: %.64q is no %v", ErrInvalid, cell, t)
	}
	return v, nil
}

// recordLimit ends a text that goes on for LineBytesMax without the end of a record,
// since a CSV reader would hold all of it.
type recordLimit struct {
	r    io.Reader
	size int // read since the last record
}

func (l *recordLimit) Read(p []byte) (int, error) {
	if l.size > LineBytesMax {
		return 0, fmt.Errorf("%w: a record has more than %d bytes", ErrTooMany, LineBytesMax)
	}
	n, err := l.r.Read(p)
	l.size += n
	return n, err
}
