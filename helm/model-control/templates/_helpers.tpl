{{- define "model-control.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* A Service's name has no dots, and 63 characters with the `-headless` behind it. */}}
{{- define "model-control.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | replace "." "-" | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := include "model-control.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | replace "." "-" | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "model-control.selectorLabels" -}}
app.kubernetes.io/name: {{ include "model-control.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "model-control.ownLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "model-control.selectorLabels" . }}
app.kubernetes.io/part-of: model-control
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "model-control.labels" -}}
{{ include "model-control.ownLabels" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Those of every object, and further ones, which beat `commonLabels`: {context, labels}. A key that comes twice is no YAML. */}}
{{- define "model-control.labelsWith" -}}
{{- merge (deepCopy .labels) (include "model-control.labels" .context | fromYaml) | toYaml }}
{{- end }}

{{/* The program's pods, and not those of `helm test`, which carry the release's labels too. */}}
{{- define "model-control.podSelector" -}}
{{ include "model-control.selectorLabels" . }}
app.kubernetes.io/component: server
{{- end }}

{{- define "model-control.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "model-control.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Registry, name, and digest or tag of an image: {image, tag}. */}}
{{- define "model-control.reference" -}}
{{- with .image.registry }}{{ . }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}

{{- define "model-control.image" -}}
{{- $flavour := eq .Values.image.flavour "llama" | ternary "-llama" "" }}
{{- $tag := default (printf "%s%s" .Chart.AppVersion $flavour) .Values.image.tag }}
{{- include "model-control.reference" (dict "image" .Values.image "tag" $tag) }}
{{- end }}

{{/* The address and a port, as flags take them: {ports, port}. */}}
{{- define "model-control.listen" -}}
{{ contains ":" .ports.address | ternary (printf "[%s]" .ports.address) .ports.address }}:{{ .port }}
{{- end }}

{{- define "model-control.host" -}}
{{ include "model-control.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "model-control.configMapName" -}}
{{- default (include "model-control.fullname" .) .Values.existingConfigMap }}
{{- end }}

{{- define "model-control.tokenSecretName" -}}
{{- default (printf "%s-token" (include "model-control.fullname" .)) .Values.auth.token.existingSecret }}
{{- end }}

{{- define "model-control.engineSecretName" -}}
{{- default (printf "%s-engine" (include "model-control.fullname" .)) .Values.embedded.inference.existingSecret }}
{{- end }}

{{/* "yes" when models can be used at the Service's ports. */}}
{{- define "model-control.inference" -}}
{{- if or (eq .Values.ollama.mode "sidecar") .Values.embedded.inference.enabled }}yes{{ end }}
{{- end }}

{{/* "yes" when there may be more than one pod. */}}
{{- define "model-control.several" -}}
{{- if .Values.autoscaling.enabled }}
{{- if gt (int .Values.autoscaling.maxReplicas) 1 }}yes{{ end }}
{{- else if gt (int .Values.replicaCount) 1 }}yes{{ end }}
{{- end }}

{{/* "yes" when a pod has a store of its own. Of a map of the user's, which is not read here, the mode tells. */}}
{{- define "model-control.embedded" -}}
{{- $found := and (eq .Values.ollama.mode "none") (empty .Values.configs) }}
{{- range .Values.configs }}{{ if eq .framework "embedded" }}{{ $found = true }}{{ end }}{{ end }}
{{- if $found }}yes{{ end }}
{{- end }}

{{/* "yes" when a claim or an Ollama belongs to one pod: it is gone before the next one begins. */}}
{{- define "model-control.single" -}}
{{- if or .Values.persistence.enabled (eq .Values.ollama.mode "sidecar") }}yes{{ end }}
{{- end }}

{{/* "yes" when the cluster knows the sleep of preStop. Kubernetes 1.29 takes it away by default, and refuses what is left. */}}
{{- define "model-control.sleeps" -}}
{{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version }}yes{{ end }}
{{- end }}

{{/* How long the program tells NOT_SERVING before it drains: without the sleep of preStop its seconds, too. */}}
{{- define "model-control.drainDelay" -}}
{{- add .Values.server.drainDelaySeconds (include "model-control.sleeps" . | eq "yes" | ternary 0 .Values.lifecycle.preStopSleepSeconds) }}
{{- end }}

{{- define "model-control.drainSeconds" -}}
{{- add .Values.lifecycle.preStopSleepSeconds .Values.server.drainDelaySeconds .Values.server.drainTimeoutSeconds }}
{{- end }}

{{/* The ports for inference in embedded mode, as a JSON list. */}}
{{- define "model-control.enginePorts" -}}
{{- $first := int .Values.embedded.inference.firstPort }}
{{- untilStep $first (int (add $first .Values.embedded.inference.portCount)) 1 | toJson }}
{{- end }}

{{/* One of the chart's probes: {probe, service, port}. What the values say beats what the chart says. */}}
{{- define "model-control.probe" -}}
{{- $kinds := list "grpc" "exec" "httpGet" "tcpSocket" }}
{{- $own := false }}
{{- range $kinds }}{{- if hasKey $.probe . }}{{- $own = true }}{{- end }}{{- end }}
{{- if $own }}
{{- toYaml .probe }}
{{- else }}
{{- toYaml (merge (dict "grpc" (dict "port" (int .port) "service" .service)) .probe) }}
{{- end }}
{{- end }}
