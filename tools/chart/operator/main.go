// Reads rendered objects and decodes those of Prometheus' operator into its own types: a field that it does not know, or of
// another type, is an error. The types come from its module; that package has no schemas.
//
//	operator < rendered.yaml
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"
)

func main() {
	count := 0
	for documents := yaml.NewYAMLReader(bufio.NewReader(os.Stdin)); ; {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			var known bool
			known, err = decode(text)
			if known {
				count++
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	fmt.Println(count)
}

// decode tells whether the object is one of the operator's, and what is wrong with it then.
func decode(text []byte) (bool, error) {
	var object struct{ APIVersion, Kind string }
	if err := strict.Unmarshal(text, &object); err != nil {
		return false, err
	}
	kinds := map[string]any{"ServiceMonitor": &monitoring.ServiceMonitor{}, "PrometheusRule": &monitoring.PrometheusRule{}}
	into, ours := kinds[object.Kind]
	if !ours {
		return false, nil
	}
	if object.APIVersion != monitoring.SchemeGroupVersion.String() {
		return true, fmt.Errorf("%s of %s, and the operator has %s", object.Kind, object.APIVersion, monitoring.SchemeGroupVersion)
	}
	if err := strict.UnmarshalStrict(text, into); err != nil {
		return true, fmt.Errorf("%s: %w", object.Kind, err)
	}
	return true, nil
}
