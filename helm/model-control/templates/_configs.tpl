{{/* The entry that fits the mode, when the values have none. */}}
{{- define "model-control.defaultEntry" -}}
{{- if eq .Values.ollama.mode "none" -}}
- name: embedded
  framework: embedded
  backend_argv:
    - --store=/var/lib/model-control/models
{{- else }}
{{- $host := eq .Values.ollama.mode "sidecar" | ternary "http://127.0.0.1:11434" .Values.ollama.external.host -}}
- name: ollama
  framework: ollama
  backend_argv:
    - {{ printf "--host=%s" $host | quote }}
{{- end }}
{{- end }}

{{/* The entries, as a JSON object {entries}. Those of the sidecar's Ollama say where callers reach it. */}}
{{- define "model-control.entries" -}}
{{- $entries := list }}
{{- range .Values.configs | default (fromYamlArray (include "model-control.defaultEntry" .)) }}
{{- $entry := deepCopy . }}
{{- if and (eq $.Values.ollama.mode "sidecar") (eq $entry.framework "ollama") }}
{{- $host := include "model-control.flag" (dict "entry" $entry "flag" "--host") }}
{{- if and (include "model-control.inPod" $host) (not (include "model-control.flag" (dict "entry" $entry "flag" "--advertise"))) }}
{{- $advertise := printf "--advertise=http://%s:11434" (include "model-control.host" $) }}
{{- $_ := set $entry "backend_argv" (prepend ($entry.backend_argv | default list) $advertise) }}
{{- end }}
{{- end }}
{{- $entries = append $entries $entry }}
{{- end }}
{{- dict "entries" $entries | toJson }}
{{- end }}

{{/* "yes" when this `--host` is the pod's own Ollama. */}}
{{- define "model-control.inPod" -}}
{{- if or (not .) (regexMatch "^(127\\.0\\.0\\.1|localhost)?(:11434)?/?$" .) (regexMatch "^http://(127\\.0\\.0\\.1|localhost):11434/?$" .) }}yes{{ end }}
{{- end }}

{{/* The value of an entry's flag, `--flag=value` or `--flag` and `value`: {entry, flag}. */}}
{{- define "model-control.flag" -}}
{{- $next := false }}
{{- range .entry.backend_argv }}
{{- $word := toString . }}
{{- if $next }}{{ $word }}{{ $next = false }}
{{- else if eq $word $.flag }}{{ $next = true }}
{{- else if hasPrefix (printf "%s=" $.flag) $word }}{{ trimPrefix (printf "%s=" $.flag) $word }}
{{- end }}
{{- end }}
{{- end }}

{{/* The ports of the Ollamas in `--host`, as a JSON object {ports}; 11434 for a map of the user's, which is not read here. */}}
{{- define "model-control.ollamaPorts" -}}
{{- $ports := list }}
{{- if .Values.existingConfigMap }}
{{- if ne .Values.ollama.mode "none" }}{{ $ports = list 11434 }}{{ end }}
{{- else }}
{{- range (include "model-control.entries" . | fromJson).entries }}
{{- if eq .framework "ollama" }}
{{- $host := include "model-control.flag" (dict "entry" . "flag" "--host") }}
{{- if not (and (eq $.Values.ollama.mode "sidecar") (include "model-control.inPod" $host)) }}
{{- $ports = append $ports (include "model-control.port" (dict "url" $host "port" 11434) | int) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "ports" ($ports | uniq | sortAlpha) | toJson }}
{{- end }}

{{/* The port of a URL, or what its scheme has, or the given one without a scheme: {url, port}. */}}
{{- define "model-control.port" -}}
{{- $authority := regexReplaceAll "^[a-z]+://" .url "" | regexFind "^[^/]*" }}
{{- $port := regexFind ":[0-9]+$" $authority | trimPrefix ":" }}
{{- if $port }}{{ $port }}
{{- else if hasPrefix "http://" .url }}80
{{- else if hasPrefix "https://" .url }}443
{{- else }}{{ .port }}
{{- end }}
{{- end }}
