package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Retries what has not begun: a server that is away or full. Nothing else is safe to repeat unasked.
const serviceConfig = `{
  "methodConfig": [{
    "name": [{"service": "ichat.modelcontrol.v1.ModelControl", "method": "EnsureReady"},
             {"service": "ichat.modelcontrol.v1.ModelControl", "method": "List"},
             {"service": "ichat.modelcontrol.v1.Operations"}],
    "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.2s", "maxBackoff": "5s", "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"]}
  }]
}`

var (
	server    = flag.String("server", "127.0.0.1:50051", "host and port")
	caFile    = flag.String("tls-ca-file", "", "authorities of the server; TLS is spoken when this is given")
	name      = flag.String("tls-server-name", "", "the name in the server's certificate, if not that of the address")
	certFile  = flag.String("tls-cert-file", "", "our certificate, for a server that asks for one; goes with -tls-key-file")
	keyFile   = flag.String("tls-key-file", "", "the key of our certificate")
	tokenFile = flag.String("token-file", "", "a file with the token; goes with TLS only")
)

// token is shown with each call. gRPC itself refuses to send it without TLS.
type token string

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(t)}, nil
}

func (token) RequireTransportSecurity() bool { return true }

func connect() (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if *caFile != "" {
		authorities := x509.NewCertPool()
		pem, err := os.ReadFile(*caFile)
		if err != nil {
			return nil, err
		}
		if !authorities.AppendCertsFromPEM(pem) {
			return nil, errors.New("no certificate in " + *caFile)
		}
		config := &tls.Config{RootCAs: authorities, ServerName: *name, MinVersion: tls.VersionTLS12}
		if *certFile != "" {
			// Read at each handshake, so that files that were renewed are shown to a server that came back.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				pair, err := tls.LoadX509KeyPair(*certFile, *keyFile)
				return &pair, err
			}
		}
		transport = credentials.NewTLS(config)
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(transport), grpc.WithDefaultServiceConfig(serviceConfig)}
	if *tokenFile != "" {
		text, err := os.ReadFile(*tokenFile)
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithPerRPCCredentials(token(strings.TrimSpace(string(text)))))
	}
	client, err := grpc.NewClient(*server, options...)
	if err != nil {
		return nil, fmt.Errorf("cannot use %s: %w", *server, err)
	}
	return client, nil
}
