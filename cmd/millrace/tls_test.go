// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/millrace-ml/millrace/proto/inference"
)

// certificateFiles writes a self-signed certificate for localhost and its key.
func certificateFiles(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, "CERTIFICATE", cert), writePEM(t, "PRIVATE KEY", keyBytes)
}

func writePEM(t *testing.T, kind string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestTLS runs a prediction against servers secured by the serve command's flags.
func TestTLS(t *testing.T) {
	cert, key := certificateFiles(t)
	server := []string{"--model-repository", "m", "--grpc-server-cert", cert, "--grpc-server-key", key}
	tests := []struct {
		name   string
		server []string
		client []string
		status int
	}{
		{"server only", append(server, "--grpc-use-ssl"), []string{"--tls", "--tls-ca", cert}, exitOK},
		{"unknown authority", append(server, "--grpc-use-ssl"), []string{"--tls"}, exitFailure},
		{"plain client", append(server, "--grpc-use-ssl"), nil, exitFailure},
		{"mutual", append(server, "--grpc-use-ssl-mutual", "--grpc-root-cert", cert), []string{"--tls", "--tls-ca", cert, "--tls-cert", cert, "--tls-key", key}, exitOK},
		{"mutual, client without certificate", append(server, "--grpc-use-ssl-mutual", "--grpc-root-cert", cert), []string{"--tls", "--tls-ca", cert}, exitFailure},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config, err := parseServe(t, test.server...).tls.config()
			if err != nil {
				t.Fatal(err)
			}
			address := serveFake(t, func(s *grpc.Server) { inference.RegisterGRPCInferenceServiceServer(s, new(fakeServer)) },
				grpc.Creds(credentials.NewTLS(config)))
			address = strings.Replace(address, "127.0.0.1", "localhost", 1)
			args := append([]string{"predict", "--url", address, "--model", "pair", "--input", "NUMBERS=[1,2,3]"}, test.client...)
			if status, _, stderr := runCommand(t, "", args...); status != test.status {
				t.Errorf("status %d, want %d: %s", status, test.status, stderr)
			}
		})
	}
}

func TestTLSFiles(t *testing.T) {
	cert, key := certificateFiles(t)
	tests := []struct {
		args []string
		text string
	}{
		{[]string{"--grpc-use-ssl-mutual", "--grpc-server-cert", cert, "--grpc-server-key", key}, "--grpc-root-cert"},
		{[]string{"--grpc-use-ssl-mutual", "--grpc-server-cert", cert, "--grpc-server-key", key, "--grpc-root-cert", key}, "no PEM certificate"},
		{[]string{"--grpc-use-ssl", "--grpc-server-cert", key, "--grpc-server-key", cert}, "--grpc-server-cert"},
	}
	for _, test := range tests {
		if _, err := parseServe(t, test.args...).tls.config(); err == nil || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%q: error %v, want %q", test.args, err, test.text)
		}
	}
}
