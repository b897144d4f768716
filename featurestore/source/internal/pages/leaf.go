// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"fmt"
	"math"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// Kind is what the values of a column are.
type Kind uint8

// The kinds.
const (
	// Unknown columns cannot be read; Leaf.Refused says why.
	Unknown Kind = iota
	// Bools are 0 and 1 in Numbers.
	Bools
	// Ints are whole numbers in Ints.
	Ints
	// Uints are like Ints, with the bits of unsigned numbers.
	Uints
	// Floats and decimals are in Numbers.
	Floats
	// Times are microseconds since 1970 in Ints; BadTime is one that these cannot hold.
	Times
	// Texts are strings, of any bytes.
	Texts
)

// BadTime stands for a time that does not fit.
const BadTime = math.MinInt64

// Leaf is a flat column.
type Leaf struct {
	Name string
	Kind Kind
	// Optional columns may have nulls.
	Optional bool
	// Stored says how it is stored, for messages.
	Stored string
	// Refused is why the column cannot be read.
	Refused string

	index    int // among all leaves
	physical format.Type
	logical  logical
	// perMicro is how many of its units a microsecond has, or, if it is negative, how
	// many microseconds one unit has.
	perMicro int64
	scale    int // digits behind the point of a decimal
	length   int // of fixed bytes
}

type logical uint8

const (
	plainValue logical = iota
	unsignedValue
	decimalValue
	timeValue
	dateValue
	uuidValue
	halfValue
)

// readSchema finds the flat columns. The schema is a tree, depth first.
func (f *File) readSchema() error {
	s := f.meta.Schema
	if len(s) == 0 || s[0].Type.Valid {
		return fmt.Errorf("%w: its schema has no root", ErrCorrupt)
	}
	leaf := 0
	for i := 1; i < len(s); {
		e := &s[i]
		end, leaves, err := subtree(s, i)
		if err != nil {
			return err
		}
		switch {
		case !e.Type.Valid:
			f.nested[e.Name] = "it has columns within it, which are not read: write them as columns of their own"
		case e.RepetitionType.Valid && e.RepetitionType.V == format.Repeated:
			f.nested[e.Name] = "it is a list, which is not read: write one row for each of its values"
		default:
			f.leaves = append(f.leaves, newLeaf(e, leaf))
		}
		i, leaf = end, leaf+leaves
	}
	return nil
}

// subtree returns where the element after the tree of element i is, and how many leaves
// that tree has. It takes no stack, however deep the tree is.
func subtree(s []format.SchemaElement, i int) (end, leaves int, err error) {
	for open := 1; open > 0; i++ {
		if i >= len(s) {
			return 0, 0, fmt.Errorf("%w: its schema ends within a group", ErrCorrupt)
		}
		open--
		if s[i].Type.Valid {
			leaves++
			continue
		}
		if s[i].NumChildren.Valid {
			if s[i].NumChildren.V < 0 || int(s[i].NumChildren.V) > len(s) {
				return 0, 0, fmt.Errorf("%w: column %q claims %d columns within it", ErrCorrupt, s[i].Name, s[i].NumChildren.V)
			}
			open += int(s[i].NumChildren.V)
		}
	}
	return i, leaves, nil
}

var physicalNames = [...]string{"BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"}

func newLeaf(e *format.SchemaElement, index int) Leaf {
	l := Leaf{Name: e.Name, index: index, physical: e.Type.V, Optional: e.RepetitionType.Valid && e.RepetitionType.V == format.Optional}
	if int(l.physical) < 0 || int(l.physical) >= len(physicalNames) {
		l.Stored, l.Refused = fmt.Sprintf("type %d", l.physical), "its type is not known"
		return l
	}
	l.Stored = physicalNames[l.physical]
	if e.TypeLength.Valid {
		l.length = int(e.TypeLength.V)
	}
	l.setLogical(e)
	l.setKind()
	if l.Kind == Unknown && l.Refused == "" {
		l.Refused = "values of this type are not read"
	}
	return l
}

// setLogical reads what the column means, in the present notation or in the older one.
func (l *Leaf) setLogical(e *format.SchemaElement) {
	switch t := e.LogicalType.Value.(type) {
	case *format.IntType:
		l.setInteger(t.IsSigned, fmt.Sprintf("INT(%d,%t)", t.BitWidth, t.IsSigned))
	case *format.TimestampType:
		switch t.Unit.Value.(type) {
		case *format.MilliSeconds:
			l.setTime(-1000, "TIMESTAMP(ms)")
		case *format.MicroSeconds:
			l.setTime(1, "TIMESTAMP(us)")
		case *format.NanoSeconds:
			l.setTime(1000, "TIMESTAMP(ns)")
		default:
			l.Refused = "the unit of its times is not known"
		}
	case *format.DecimalType:
		l.setDecimal(int(t.Scale))
	case *format.DateType:
		l.logical, l.Stored = dateValue, "DATE"
	case *format.UUIDType:
		l.logical, l.Stored = uuidValue, "UUID"
	case *format.Float16Type:
		l.logical, l.Stored = halfValue, "FLOAT16"
	case *format.TimeType, *format.BsonType, *format.VariantType, *format.GeometryType, *format.GeographyType:
		l.Refused, l.Stored = "values of this type are not read", t.(fmt.Stringer).String()
	case nil:
		l.setConverted(e)
	}
}

func (l *Leaf) setConverted(e *format.SchemaElement) {
	if !e.ConvertedType.Valid {
		return
	}
	switch e.ConvertedType.V {
	case deprecated.Uint8, deprecated.Uint16, deprecated.Uint32, deprecated.Uint64:
		l.setInteger(false, "unsigned "+l.Stored)
	case deprecated.TimestampMillis:
		l.setTime(-1000, "TIMESTAMP(ms)")
	case deprecated.TimestampMicros:
		l.setTime(1, "TIMESTAMP(us)")
	case deprecated.Date:
		l.logical, l.Stored = dateValue, "DATE"
	case deprecated.Decimal:
		if e.Scale.Valid {
			l.setDecimal(int(e.Scale.V))
		} else {
			l.setDecimal(0)
		}
	case deprecated.TimeMillis, deprecated.TimeMicros, deprecated.Interval, deprecated.Bson:
		l.Refused = "values of this type are not read"
	}
}

func (l *Leaf) setInteger(signed bool, name string) {
	l.Stored = name
	if !signed {
		l.logical = unsignedValue
	}
}

func (l *Leaf) setTime(perMicro int64, name string) {
	l.logical, l.perMicro, l.Stored = timeValue, perMicro, name
}

func (l *Leaf) setDecimal(scale int) {
	l.logical, l.scale, l.Stored = decimalValue, scale, fmt.Sprintf("DECIMAL(scale %d)", scale)
	if scale < 0 || scale > 76 { // the widest decimals in use have 76 digits
		l.Refused = "its scale is out of range"
	}
}

// setKind combines what is stored with what it means.
func (l *Leaf) setKind() {
	if l.Refused != "" {
		return
	}
	integer := l.physical == format.Int32 || l.physical == format.Int64
	bytes := l.physical == format.ByteArray || l.physical == format.FixedLenByteArray
	switch {
	case l.logical == decimalValue && (integer || bytes),
		l.logical == halfValue && l.physical == format.FixedLenByteArray && l.length == 2:
		l.Kind = Floats
	case l.logical == timeValue && l.physical == format.Int64, l.logical == dateValue && l.physical == format.Int32:
		l.Kind = Times
	case l.logical == uuidValue && l.physical == format.FixedLenByteArray && l.length == 16:
		l.Kind = Texts
	case l.logical == unsignedValue && integer:
		l.Kind = Uints
		if l.physical == format.Int32 {
			l.Kind = Ints // an int64 holds them all
		}
	case l.logical == plainValue:
		l.Kind = [...]Kind{Bools, Ints, Ints, Times, Floats, Floats, Texts, Unknown}[l.physical]
	}
	if l.physical == format.FixedLenByteArray && (l.length <= 0 || l.length > math.MaxInt16) {
		l.Kind, l.Refused = Unknown, "the length of its values is out of range"
	}
}
