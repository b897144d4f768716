// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// lineBytesMax is the length of the longest line with its line feed.
const lineBytesMax = sumDigits + 1 + PayloadBytesMax + 1

// hole is what a file has where the system lost writes that were not synced yet.
var hole = make([]byte, 8)

func appendLine(lines, payload []byte) []byte {
	sum := crc32.Checksum(payload, castagnoli)
	lines = hex.AppendEncode(lines, []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	lines = append(lines, ' ')
	lines = append(lines, payload...)
	return append(lines, '\n')
}

// parseLine returns the payload of a line without its line feed.
func parseLine(line []byte) (payload []byte, ok bool) {
	if len(line) <= sumDigits+1 || line[sumDigits] != ' ' {
		return nil, false
	}
	var sum [sumDigits / 2]byte
	if _, err := hex.Decode(sum[:], line[:sumDigits]); err != nil {
		return nil, false
	}
	payload = line[sumDigits+1:]
	want := uint32(sum[0])<<24 | uint32(sum[1])<<16 | uint32(sum[2])<<8 | uint32(sum[3])
	return payload, crc32.Checksum(payload, castagnoli) == want
}

// scan hands the good lines at the beginning of a journal to each. good is how many bytes
// they have, all how many there are.
func scan(path string, r io.Reader, each func(payload []byte) error) (good, all int64, err error) {
	reader := bufio.NewReaderSize(r, 64<<10)
	var long []byte
	bad := 0 // the number of the first line that is not good
	for number := 1; ; number++ {
		line, whole, err := readLine(reader, &long)
		if len(line) == 0 && err == io.EOF {
			return good, all, nil
		}
		if err != nil && err != io.EOF {
			return 0, 0, fmt.Errorf("read journal %s: %w", path, err)
		}
		at := all
		all += whole
		text, ended := bytes.CutSuffix(line, []byte{'\n'})
		payload, ok := parseLine(text)
		switch {
		case ok && ended && bad > 0:
			return 0, 0, fmt.Errorf("%w: %s line %d (byte %d) cannot be read, and good lines follow it: restore the file", ErrCorrupt, path, bad, good)
		case ok && ended && number == 1:
			if string(payload) != header {
				return 0, 0, fmt.Errorf("%w: %s begins with %.40q, not with %q", ErrCorrupt, path, payload, header)
			}
			good = all
		case ok && ended:
			if err := each(payload); err != nil {
				return 0, 0, fmt.Errorf("journal %s line %d (byte %d): %w", path, number, at, err)
			}
			good = all
		case bytes.Contains(line, hole): // the rest was never synced
			rest, err := io.Copy(io.Discard, reader)
			return good, all + rest, err
		case err == io.EOF: // the rest of the line, should another process write it now, is left out
			return good, all, nil
		case bad == 0:
			bad = number
		}
	}
}

// readLine reads a line with its line feed; of one that is too long only the beginning,
// which no sum can fit. size is what was read.
func readLine(r *bufio.Reader, long *[]byte) (line []byte, size int64, err error) {
	line, err = r.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return line, int64(len(line)), err
	}
	*long = (*long)[:0]
	for {
		size += int64(len(line))
		if len(*long) < lineBytesMax {
			*long = append(*long, line...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return *long, size, err
		}
		line, err = r.ReadSlice('\n')
	}
}
