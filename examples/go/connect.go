package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
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
	server    = flag.String("server", "127.0.0.1:50051", "HOST:PORT, http://HOST:PORT or https://HOST:PORT")
	caFile    = flag.String("tls-ca-file", "", "authorities of the server, in the place of the system's; goes with TLS")
	name      = flag.String("tls-server-name", "", "the name in the server's certificate, if not that of the address")
	certFile  = flag.String("tls-cert-file", "", "our certificate, for a server that asks for one; goes with -tls-key-file")
	keyFile   = flag.String("tls-key-file", "", "the key of our certificate")
	tokenFile = flag.String("token-file", "", "a file with the token; goes with TLS, or to this machine")
)

// token is shown with each call. gRPC itself sends it over TLS only, unless it may go in plain text.
type token struct {
	text  string
	plain bool
}

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + t.text}, nil
}

func (t token) RequireTransportSecurity() bool { return !t.plain }

// connect follows the rules of the service's own client: TLS is spoken to https://HOST:PORT, and to a bare HOST:PORT when files
// for it are given; a token goes over TLS, or in plain text to this machine, and nowhere else.
func connect() (*grpc.ClientConn, error) {
	scheme, address, found := strings.Cut(strings.TrimSuffix(*server, "/"), "://")
	if !found {
		scheme, address = "", scheme
	}
	if scheme != "" && scheme != "http" && scheme != "https" {
		return nil, fmt.Errorf("%s: want HOST:PORT, http://HOST:PORT or https://HOST:PORT", *server)
	}
	files := *caFile != "" || *certFile != ""
	if scheme == "http" && files {
		return nil, fmt.Errorf("%s: files for TLS need an address with TLS, https://HOST:PORT", *server)
	}
	secure := scheme == "https" || files
	transport := insecure.NewCredentials()
	if secure {
		config, err := tlsConfig()
		if err != nil {
			return nil, err
		}
		transport = credentials.NewTLS(config)
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(transport), grpc.WithDefaultServiceConfig(serviceConfig)}
	if *tokenFile != "" {
		if !secure && !isLoopback(address) {
			return nil, fmt.Errorf("%s: a token is not sent over the network in plain text: use https://HOST:PORT, "+
				"or an address of this machine", *server)
		}
		text, err := os.ReadFile(*tokenFile)
		if err != nil {
			return nil, err
		}
		shown := token{text: strings.TrimSpace(string(text)), plain: !secure}
		options = append(options, grpc.WithPerRPCCredentials(shown))
	}
	client, err := grpc.NewClient(address, options...)
	if err != nil {
		return nil, fmt.Errorf("cannot use %s: %w", *server, err)
	}
	return client, nil
}

func tlsConfig() (*tls.Config, error) {
	// Without authorities of ours those of the system are believed.
	config := &tls.Config{ServerName: *name, MinVersion: tls.VersionTLS12}
	if *caFile != "" {
		pem, err := os.ReadFile(*caFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("no certificate in " + *caFile)
		}
	}
	if *certFile != "" {
		// Read at each handshake, so that files that were renewed are shown to a server that came back.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(*certFile, *keyFile)
			return &pair, err
		}
	}
	return config, nil
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}
