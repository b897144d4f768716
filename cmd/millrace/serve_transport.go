// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/millrace-ml/millrace/serving"
)

// transport translates the flags of gRPC connections.
func (o *keepaliveOptions) transport() (serving.TransportOptions, error) {
	var problems []error
	millis := func(flag string, n, least int64) time.Duration {
		// Beyond this a duration overflows; it is 292 years.
		if n < least || n > int64(1<<63-1)/int64(time.Millisecond) {
			problems = append(problems, fmt.Errorf("--%s %d: give %d milliseconds or more", flag, n, least))
		}
		return time.Duration(n) * time.Millisecond
	}
	options := serving.TransportOptions{
		KeepaliveTime:         millis("grpc-keepalive-time", o.time, 1),
		KeepaliveTimeout:      millis("grpc-keepalive-timeout", o.timeout, 1),
		KeepaliveMinTime:      millis("grpc-http2-min-recv-ping-interval-without-data", o.minPingInterval, 1),
		KeepaliveWithoutCalls: o.withoutCalls,
		MaxConnectionAge:      millis("grpc-max-connection-age", o.connectionAge, 0),
		MaxConnectionAgeGrace: millis("grpc-max-connection-age-grace", o.connectionAgeGrace, 0),
	}
	return options, errors.Join(problems...)
}

// serverTLSOptions are the flags that secure gRPC.
type serverTLSOptions struct {
	use      bool
	mutual   bool
	certFile string
	keyFile  string
	rootFile string
}

func (o *serverTLSOptions) addFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&o.use, "grpc-use-ssl", false, "encrypt gRPC")
	flags.BoolVar(&o.mutual, "grpc-use-ssl-mutual", false, "encrypt gRPC and ask clients for a certificate")
	flags.StringVar(&o.certFile, "grpc-server-cert", "", "PEM `file` of the server's certificate")
	flags.StringVar(&o.keyFile, "grpc-server-key", "", "PEM `file` of the server's key")
	flags.StringVar(&o.rootFile, "grpc-root-cert", "", "PEM `file` of the authority that signed the clients' certificates")
}

// config reads the certificates; it is nil when gRPC is plain text.
func (o *serverTLSOptions) config() (*tls.Config, error) {
	if !o.use && !o.mutual {
		if o.certFile != "" || o.keyFile != "" || o.rootFile != "" {
			return nil, errors.New("--grpc-server-cert, --grpc-server-key and --grpc-root-cert need --grpc-use-ssl or --grpc-use-ssl-mutual")
		}
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(o.certFile, o.keyFile)
	if err != nil {
		return nil, fmt.Errorf("--grpc-server-cert, --grpc-server-key: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
	if !o.mutual {
		return config, nil
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs, err = readAuthorities(o.rootFile)
	if err != nil {
		return nil, fmt.Errorf("--grpc-root-cert: %w", err)
	}
	return config, nil
}

// readAuthorities reads the certificates of a PEM file as a pool.
func readAuthorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no PEM certificate in it", file)
	}
	return pool, nil
}
