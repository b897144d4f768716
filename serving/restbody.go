// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// Bodies of REST calls: bounded in size and time, compressed both ways.

// bodyStallMax is how long a client may send nothing in the middle of a body.
const bodyStallMax = 30 * time.Second

// compressBytesMin is the least size of an answer worth compressing.
const compressBytesMin = 1024

// readJSON decodes a body into v; an empty body leaves v as it is.
func (s *Server) readJSON(w http.ResponseWriter, q *http.Request, v any) error {
	body, err := s.readBody(w, q)
	if err != nil || len(body) == 0 {
		return err
	}
	return parseJSON(body, v)
}

func parseJSON(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return invalidArgument("failed to parse the request JSON buffer: %v", err)
	}
	return nil
}

// readBody reads a body of bounded size, decompressing it where it says so.
func (s *Server) readBody(w http.ResponseWriter, q *http.Request) ([]byte, error) {
	limit := int64(s.limits.MessageBytesMax)
	reader, err := decompressor(q.Header.Get("Content-Encoding"), q.Body)
	if err != nil {
		return nil, bodyError(err, limit)
	}
	body, err := io.ReadAll(io.LimitReader(reader, limit+1))
	if err != nil {
		return nil, bodyError(err, limit)
	}
	if int64(len(body)) > limit {
		return nil, bodyError(&http.MaxBytesError{Limit: limit}, limit)
	}
	// The answer may take its time, also where a compressed body ended before its end was
	// read. After an error the deadline stands: what is left is still read away.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return body, nil
}

// decompressor reads what was encoded into sent.
func decompressor(encoding string, sent io.Reader) (io.Reader, error) {
	switch encoding {
	case "", "identity":
		return sent, nil
	case "gzip":
		return gzip.NewReader(sent)
	case "deflate":
		return zlib.NewReader(sent)
	}
	return nil, invalidArgument("Content-Encoding %q is not supported: send gzip, deflate or none", encoding)
}

// bodyError says what is wrong with a body that could not be read to its end.
func bodyError(err error, limit int64) error {
	var tooLarge *http.MaxBytesError
	var refused *Error
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &tooLarge):
		return &Error{codes.ResourceExhausted, fmt.Sprintf("request body is larger than %d bytes", limit)}
	}
	return invalidArgument("read request body: %v", err)
}

// boundBodies gives each call a body of bounded size and of bounded time, which endpoints
// that want no body leave unread.
func boundBodies(next http.Handler, limit int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Body != http.NoBody {
			conn := http.NewResponseController(w)
			_ = conn.SetReadDeadline(time.Now().Add(bodyStallMax))
			q.Body = steadyBody{http.MaxBytesReader(w, q.Body, limit), conn}
		}
		next.ServeHTTP(w, q)
	})
}

// steadyBody cuts the connection of a client that stops sending before the end.
type steadyBody struct {
	io.ReadCloser
	conn *http.ResponseController
}

func (b steadyBody) Read(p []byte) (int, error) {
	_ = b.conn.SetReadDeadline(time.Now().Add(bodyStallMax))
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.conn.SetReadDeadline(time.Time{}) // the answer may take its time
	}
	return n, err
}

// compressBody compresses a body with what the client accepts, and says so in the
// header. Small bodies stay as they are.
func compressBody(header http.Header, accepted string, body []byte) []byte {
	if len(body) < compressBytesMin {
		return body
	}
	var packed bytes.Buffer
	var w io.WriteCloser
	switch {
	case accepts(accepted, "gzip"):
		w, _ = gzip.NewWriterLevel(&packed, gzip.BestSpeed) // fails for an unknown level only
		header.Set("Content-Encoding", "gzip")
	case accepts(accepted, "deflate"):
		w, _ = zlib.NewWriterLevel(&packed, zlib.BestSpeed)
		header.Set("Content-Encoding", "deflate")
	default:
		return body
	}
	w.Write(body) // to memory, which does not fail
	w.Close()
	return packed.Bytes()
}

// accepts reports whether an Accept-Encoding header names an encoding, without
// giving it the weight 0.
func accepts(header, encoding string) bool {
	for option := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(option), ";")
		if strings.TrimSpace(name) == encoding {
			weight = strings.ReplaceAll(weight, " ", "")
			return weight != "q=0" && strings.Trim(weight, "0") != "q=0."
		}
	}
	return false
}
