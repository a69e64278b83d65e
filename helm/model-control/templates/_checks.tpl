{{/* What a schema cannot tell: values that contradict each other. All are told together. */}}
{{- define "model-control.checks" -}}
{{- $v := .Values }}
{{- $wrong := list }}
{{- $name := include "model-control.fullname" . }}
{{- if not (regexMatch "^[a-z]" $name) }}
{{- $wrong = append $wrong (printf "%s cannot name a Service, whose name begins with a letter: set fullnameOverride" $name) }}
{{- end }}
{{- if and $v.configs $v.existingConfigMap }}
{{- $wrong = append $wrong "configs and existingConfigMap are both set: the file comes from one of them, so leave the other out" }}
{{- end }}
{{- if and (eq $v.auth.mode "token") (not $v.auth.token.existingSecret) (eq $v.auth.token.key "token") }}
{{- $wrong = append $wrong "auth.token.key is token, which holds the bare token in the Secret that is made" }}
{{- end }}
{{- if and (eq $v.auth.mode "mtls") (not $v.tls.enabled) }}
{{- $wrong = append $wrong "auth.mode is mtls without tls.enabled: a caller shows a certificate only in TLS" }}
{{- end }}
{{- if and $v.tls.enabled (not $v.tls.existingSecret) }}
{{- $wrong = append $wrong "tls.enabled needs tls.existingSecret: a Secret of type kubernetes.io/tls with the server's certificate" }}
{{- end }}
{{- if and $v.auth.mtls.scopes (ne $v.auth.mode "mtls") }}
{{- $wrong = append $wrong "auth.mtls.scopes without auth.mode mtls: nobody shows a certificate" }}
{{- end }}
{{- if include "model-control.several" . }}
{{- $who := $v.autoscaling.enabled | ternary "autoscaling.enabled" "replicaCount above 1" }}
{{- if $v.persistence.enabled }}
{{- $wrong = append $wrong (printf "%s with persistence.enabled: the pods would have one store and one state directory, which one service at a time holds, whatever the claim allows. Without persistence each has its own" $who) }}
{{- end }}
{{- if eq $v.ollama.mode "sidecar" }}
{{- $wrong = append $wrong (printf "%s with ollama.mode sidecar: each pod would have an Ollama with other models behind one Service" $who) }}
{{- end }}
{{- if include "model-control.embedded" . }}
{{- $wrong = append $wrong (printf "%s with an embedded store (ollama.mode none, or an entry of framework embedded): each pod would have other models behind one Service" $who) }}
{{- end }}
{{- if $v.embedded.inference.enabled }}
{{- $wrong = append $wrong (printf "%s with embedded.inference: the Service would send callers to a pod that does not run their model" $who) }}
{{- end }}
{{- end }}
{{- if and $v.updateStrategy (include "model-control.single" .) (ne (get $v.updateStrategy "type") "Recreate") }}
{{- $wrong = append $wrong "updateStrategy.type is not Recreate with persistence.enabled or ollama.mode sidecar: the new pod would start while the old one holds the store" }}
{{- end }}
{{- if and (ne $v.service.type "LoadBalancer") $v.service.loadBalancerSourceRanges }}
{{- $wrong = append $wrong "service.loadBalancerSourceRanges without service.type LoadBalancer: nothing would look at them" }}
{{- end }}
{{- if and (eq $v.service.type "ClusterIP") $v.service.externalTrafficPolicy }}
{{- $wrong = append $wrong "service.externalTrafficPolicy with service.type ClusterIP: nobody comes from outside" }}
{{- end }}
{{- if and $v.embedded.inference.enabled (ne $v.image.flavour "llama") (eq $v.embedded.inference.llamaServer "/usr/local/bin/llama-server") }}
{{- $wrong = append $wrong "embedded.inference.enabled needs llama-server: set image.flavour=llama, or bring one and name it in embedded.inference.llamaServer" }}
{{- end }}
{{- if and $v.autoscaling.enabled (lt (int $v.autoscaling.maxReplicas) (int $v.autoscaling.minReplicas)) }}
{{- $wrong = append $wrong "autoscaling.maxReplicas is below autoscaling.minReplicas" }}
{{- end }}
{{- $drain := include "model-control.drainSeconds" . | int }}
{{- with $v.terminationGracePeriodSeconds }}
{{- if lt (int .) $drain }}
{{- $wrong = append $wrong (printf "terminationGracePeriodSeconds %d is below the %d seconds of lifecycle.preStopSleepSeconds, server.drainDelaySeconds and server.drainTimeoutSeconds: work would be killed" (int .) $drain) }}
{{- end }}
{{- end }}
{{- if not $v.metrics.enabled }}
{{- if or $v.metrics.serviceMonitor.enabled $v.metrics.prometheusRule.enabled }}
{{- $wrong = append $wrong "metrics.serviceMonitor and metrics.prometheusRule need metrics.enabled: there is nothing to scrape" }}
{{- end }}
{{- end }}
{{- $ports := list (int $v.ports.grpc) (int $v.ports.health) }}
{{- if $v.metrics.enabled }}{{ $ports = append $ports (int $v.ports.metrics) }}{{ end }}
{{- if eq $v.ollama.mode "sidecar" }}{{ $ports = append $ports 11434 }}{{ end }}
{{- if $v.embedded.inference.enabled }}{{ range include "model-control.enginePorts" . | fromJsonArray }}{{ $ports = append $ports (int .) }}{{ end }}{{ end }}
{{- if ne (len $ports) (len (uniq $ports)) }}
{{- $wrong = append $wrong (printf "two things listen on one port of the pod: %s" (join ", " $ports)) }}
{{- end }}
{{- $last := sub (add $v.embedded.inference.firstPort $v.embedded.inference.portCount) 1 }}
{{- if and $v.embedded.inference.enabled (gt (int $last) 65535) }}
{{- $wrong = append $wrong (printf "embedded.inference: the last of portCount ports from firstPort on would be %d, and there are 65535" (int $last)) }}
{{- end }}
{{- $served := list }}
{{- range include "model-control.servicePorts" . | fromYamlArray }}{{ $served = append $served (int .port) }}{{ end }}
{{- if ne (len $served) (len (uniq $served)) }}
{{- $wrong = append $wrong (printf "two things have one port of the Service, service.port among them: %s" (join ", " $served)) }}
{{- end }}
{{- $mounts := list }}
{{- range include "model-control.mounts" . | fromYamlArray }}{{ $mounts = append $mounts (clean .mountPath) }}{{ end }}
{{- if ne (len $mounts) (len (uniq $mounts)) }}
{{- $wrong = append $wrong (printf "two volumes are mounted at one path, modelFiles.mountPath or one of extraVolumeMounts: %s" (join ", " $mounts)) }}
{{- end }}
{{- $files := printf "%s/" (clean $v.modelFiles.mountPath | trimSuffix "/") }}
{{- range append $mounts "/usr/local/bin/model-control" }}
{{- if and $v.modelFiles.existingClaim (hasPrefix $files .) }}
{{- $wrong = append $wrong (printf "modelFiles.mountPath %s would hide %s, which the program needs" $v.modelFiles.mountPath .) }}
{{- end }}
{{- end }}
{{- /* Not in the schema: Helm says of a name that it refuses that it stands elsewhere. */}}
{{- $ours := set (include "model-control.ownLabels" . | fromYaml) "app.kubernetes.io/component" "" }}
{{- $monitoring := dict "serviceMonitor" $v.metrics.serviceMonitor "prometheusRule" $v.metrics.prometheusRule "dashboard" $v.metrics.dashboard }}
{{- $labels := dict "commonLabels" $v.commonLabels "podLabels" $v.podLabels }}
{{- range $key, $_ := $monitoring }}{{ $labels = set $labels (printf "metrics.%s.labels" $key) .labels }}{{ end }}
{{- range $where, $given := $labels }}
{{- range $key, $_ := $given }}
{{- if hasKey $ours $key }}
{{- $wrong = append $wrong (printf "%s: %s is a label of the chart's own, which selectors look at" $where $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- $names := list }}
{{- range $v.configs }}{{ $names = append $names .name }}{{ end }}
{{- if ne (len $names) (len (uniq $names)) }}
{{- $wrong = append $wrong (printf "configs: two entries have one name: %s" (join ", " $names)) }}
{{- end }}
{{- if $wrong }}
{{- fail (printf "\n\nThese values cannot be:\n  - %s\n" (join "\n  - " $wrong)) }}
{{- end }}
{{- end }}
