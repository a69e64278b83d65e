{{/* The port of the API at a Service. */}}
{{- define "model-control.grpcPort" -}}
- name: grpc
  port: {{ .Values.service.port }}
  targetPort: grpc
  {{- if not .Values.tls.enabled }}
  appProtocol: kubernetes.io/h2c
  {{- end }}
{{- end }}

{{/* All ports of the Service within the cluster. */}}
{{- define "model-control.servicePorts" -}}
{{- $v := .Values -}}
{{ include "model-control.grpcPort" . }}
- name: health
  port: {{ $v.ports.health }}
  targetPort: health
  appProtocol: kubernetes.io/h2c
{{- if $v.metrics.enabled }}
- name: metrics
  port: {{ $v.ports.metrics }}
  targetPort: metrics
  appProtocol: http
{{- end }}
{{- if eq $v.ollama.mode "sidecar" }}
- name: ollama
  port: 11434
  # By number: older Kubernetes finds no name in an init container.
  targetPort: 11434
  appProtocol: http
{{- end }}
{{- if $v.embedded.inference.enabled }}
{{- range include "model-control.enginePorts" . | fromJsonArray }}
- name: engine-{{ int . }}
  port: {{ int . }}
  targetPort: engine-{{ int . }}
  appProtocol: http
{{- end }}
{{- end }}
{{- end }}
