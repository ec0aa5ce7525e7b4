package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"treeline.dev/pool/door"
	"treeline.dev/pool/models"
)

// settings are what the command line and the environment say, read once.
type settings struct {
	listen, advertise string
	nodeID            string
	labels            pairs

	engine        string
	engineProgram string
	engineAddress string
	engineTimeout time.Duration
	workers       int
	models        string
	goModels      string
	load          list

	toleratesFailed bool

	threads     int
	memoryBytes uint64
	config      string
	aliases     pairs

	runningMax   int
	bodyBytesMax int64
	drainTimeout time.Duration

	tlsCertificate, tlsKey, tlsAuthority string

	etcd        list
	consul      string
	consulToken string
	nats        string
	natsMonitor string
	natsCreds   string
	natsStreams int
	jobWorkers  int

	otlpEndpoint string
	sampleRatio  float64
	logLevel     string

	showVersion bool
}

// environmentPrefix is in front of each flag's name in the environment: --drain-timeout is TREELINE_POOL_DRAIN_TIMEOUT.
const environmentPrefix = "TREELINE_POOL_"

// section is a heading of the help, and the flags below it.
type section struct {
	title string
	flags []string
}

// help collects the flags in the order of their definition.
type help struct {
	set      *flag.FlagSet
	sections []section
}

func (help *help) begin(title string) { help.sections = append(help.sections, section{title: title}) }

func (help *help) add(name string) {
	last := &help.sections[len(help.sections)-1]
	last.flags = append(last.flags, name)
}

func (help *help) text(value *string, name, preset, usage string) {
	help.set.StringVar(value, name, preset, usage)
	help.add(name)
}

func (help *help) number(value *int, name string, preset int, usage string) {
	help.set.IntVar(value, name, preset, usage)
	help.add(name)
}

func (help *help) duration(value *time.Duration, name string, preset time.Duration, usage string) {
	help.set.DurationVar(value, name, preset, usage)
	help.add(name)
}

func (help *help) value(value flag.Value, name, usage string) {
	help.set.Var(value, name, usage)
	help.add(name)
}

// define names all flags.
func (help *help) define(into *settings) {
	help.begin("The node")
	help.text(&into.listen, "listen", "127.0.0.1:8089", "`address:port` of the one port; port 0: any free one")
	help.text(&into.advertise, "advertise", "", "base `address` that others reach this node by, such as https://10.0.0.7:8089; "+
		"by default what it listens on")
	help.text(&into.nodeID, "node-id", "", "the node's `id`, unique in the pool; by default a new one at each start")
	help.value(&into.labels, "label", "a label that the directory shows, `name=value`; may be repeated")

	help.begin("Models")
	help.text(&into.engine, "engine", engineDefault, "how the Rust engine is reached: `"+strings.Join(engineKinds(), ", ")+"`; "+
		"ffi is linked in, shm is processes on this machine, grpc another host, none no Rust engine")
	help.text(&into.engineProgram, "engine-program", engineProgramBeside(), "the worker's `program`, with --engine shm")
	help.number(&into.workers, "workers", 1, "`count` of worker processes, with --engine shm")
	help.text(&into.engineAddress, "engine-address", "", "`address` of the engine, with --engine grpc: host:port, called by TLS where "+
		"--tls-certificate is given, or a URL. Another treeline-pool, or treeline-engine --listen")
	help.duration(&into.engineTimeout, "engine-timeout", 30*time.Second, "how long the engine may take to answer at the start")
	help.text(&into.models, "models", "models", "`folder` of the Rust engine's model repository")
	help.text(&into.goModels, "go-models", "", "`folder` of the Go models' repository; empty: no Go models")
	help.value(&into.load, "load", "a model to load at the start, `name[:version]`, besides those whose manifest says so; "+
		"may be repeated. The node is ready once they are")
	help.set.BoolVar(&into.toleratesFailed, "ready-without-failed", false, "be ready although a model could not be loaded at the start")
	help.add("ready-without-failed")
	help.number(&into.threads, "threads", 0, "`count` of threads for computing; 0: as many as the machine has")
	help.set.Uint64Var(&into.memoryBytes, "memory-bytes-max", 0, "`bytes` that loaded models may hold together; 0: the engine's default")
	help.add("memory-bytes-max")
	help.text(&into.config, "config", "", "`file` of engines made by others (vLLM, TEI, Triton, Ollama, llama.cpp)")
	help.value(&into.aliases, "alias", "another name of a model, `name=model`; may be repeated. test=all-minilm-l6-v2 is there by default")

	help.begin("Bounds")
	help.number(&into.runningMax, "running-calls-max", models.RunningMaxDefault, "`count` of calls that run at once at most; more are refused with 429")
	help.set.Int64Var(&into.bodyBytesMax, "body-bytes-max", door.BodyBytesMaxDefault, "`bytes` of a request's body at most")
	help.add("body-bytes-max")
	help.duration(&into.drainTimeout, "drain-timeout", 30*time.Second, "how long running calls may take after SIGTERM")

	help.begin("TLS")
	help.text(&into.tlsCertificate, "tls-certificate", "", "certificate chain, a PEM `file`; turns TLS on")
	help.text(&into.tlsKey, "tls-key", "", "its key, a PEM `file`")
	help.text(&into.tlsAuthority, "tls-authority", "", "clients must show a certificate of this authority, a PEM `file`")

	help.begin("Directory and queue")
	help.value(&into.etcd, "etcd", "`address` of etcd, such as http://127.0.0.1:2379; may be repeated")
	help.text(&into.consul, "consul", "", "`address` of Consul's agent, such as http://127.0.0.1:8500")
	help.text(&into.consulToken, "consul-token", "", "`token` of Consul's access control; better in the environment")
	help.text(&into.nats, "nats", "", "`address` of NATS with JetStream, such as nats://127.0.0.1:4222; empty: no jobs")
	help.text(&into.natsMonitor, "nats-monitor", "", "`address` of NATS' monitoring, such as http://127.0.0.1:8222: the node starts only "+
		"where NATS writes each job to disk before it accepts it")
	help.text(&into.natsCreds, "nats-credentials", "", "`file` of NATS credentials")
	help.number(&into.natsStreams, "nats-replicas", 1, "`count` of replicas of each stream")
	help.number(&into.jobWorkers, "job-workers", 0, "`count` of jobs of one model that run at once here; 0: the queue's default")

	help.begin("Watching it")
	help.text(&into.otlpEndpoint, "otlp-endpoint", "", "`address` of a collector of traces by OTLP over HTTP; empty: none are sent")
	help.set.Float64Var(&into.sampleRatio, "trace-sample-ratio", 1, "`share` of the traces begun here that are recorded, 0 to 1")
	help.add("trace-sample-ratio")
	help.text(&into.logLevel, "log-level", "info", "`level`: debug, info, warn or error")
	help.set.BoolVar(&into.showVersion, "version", false, "print the version and end")
	help.add("version")
}

// environmentName is the variable that stands for a flag.
func environmentName(flagName string) string {
	return environmentPrefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// print writes the help.
func (help *help) print(output io.Writer) {
	_, _ = fmt.Fprintf(output, "treeline-pool answers for models on this machine: OpenAI's API, Open Inference, gRPC, Connect.\n\n"+
		"Each flag may be given as a variable too: --drain-timeout as %s.\nA repeated flag's variable divides its values by commas. "+
		"Values in brackets are the defaults.\nSIGTERM or Ctrl-C lets running calls finish; a second one ends the program at once.\n",
		environmentName("drain-timeout"))
	for _, section := range help.sections {
		_, _ = fmt.Fprintf(output, "\n%s\n", section.title)
		for _, name := range section.flags {
			shown := help.set.Lookup(name)
			kind, usage := flag.UnquoteUsage(shown)
			if preset := shown.DefValue; preset != "" && preset != "0" && preset != "false" {
				usage += " [" + preset + "]"
			}
			first := "  --" + strings.TrimSpace(name+" "+strings.ToUpper(oneWord(kind)))
			for _, line := range wrap(usage, helpWidth-helpIndent) {
				_, _ = fmt.Fprintf(output, "%-*s%s\n", helpIndent, first, line)
				first = ""
			}
		}
	}
}

const (
	// helpWidth is the columns of the help, and helpIndent those in front of the explanations.
	helpWidth  = 110
	helpIndent = 36
)

// wrap cuts a text between words into lines of at most width characters; a longer word has a line of its own.
func wrap(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}

// oneWord keeps the help's first column narrow: a list of choices stands in the usage already.
func oneWord(kind string) string {
	if strings.Contains(kind, ", ") {
		return "kind"
	}
	return kind
}

// errHelp means that help was asked for and has been printed.
var errHelp = errors.New("help")

// parse reads the command line over the environment over the defaults.
func parse(arguments []string, environment func(string) (string, bool), output io.Writer) (*settings, error) {
	into := &settings{}
	help := &help{set: flag.NewFlagSet("treeline-pool", flag.ContinueOnError)}
	help.set.SetOutput(io.Discard)
	help.define(into)
	var refused error
	help.set.VisitAll(func(one *flag.Flag) {
		text, isThere := environment(environmentName(one.Name))
		if !isThere || refused != nil {
			return
		}
		if err := help.set.Set(one.Name, text); err != nil {
			refused = fmt.Errorf("%s: %w", environmentName(one.Name), err)
		}
	})
	if refused != nil {
		return nil, refused
	}
	for _, one := range []*list{&into.load, &into.etcd} {
		one.isPreset = true
	}
	if err := help.set.Parse(arguments); errors.Is(err, flag.ErrHelp) {
		help.print(output)
		return nil, errHelp
	} else if err != nil {
		return nil, err
	}
	if help.set.NArg() > 0 {
		return nil, fmt.Errorf("%q is no flag; see --help", help.set.Arg(0))
	}
	return into, into.check()
}

func (settings *settings) check() error {
	for _, bad := range []struct {
		is     bool
		reason string
	}{
		{settings.workers < 1, "--workers must be at least 1"},
		{settings.runningMax < 1, "--running-calls-max must be at least 1"},
		{settings.bodyBytesMax < 1 || settings.bodyBytesMax > 1<<31-1, "--body-bytes-max must be from 1 to 2147483647"},
		{settings.drainTimeout < 0, "--drain-timeout must not be negative"},
		{settings.threads < 0, "--threads must not be negative"},
		{(settings.tlsCertificate == "") != (settings.tlsKey == ""), "--tls-certificate and --tls-key belong together"},
		{settings.tlsAuthority != "" && settings.tlsKey == "", "--tls-authority needs --tls-certificate and --tls-key"},
		{len(settings.etcd.values) > 0 && settings.consul != "", "--etcd and --consul exclude each other"},
		{settings.natsMonitor != "" && settings.nats == "", "--nats-monitor needs --nats"},
		{settings.natsMonitor != "" && !isWebAddress(settings.natsMonitor), "--nats-monitor must be http://host:port or https://host:port"},
		{settings.engine == "grpc" && settings.engineAddress == "", "--engine grpc needs --engine-address"},
	} {
		if bad.is {
			return errors.New(bad.reason)
		}
	}
	if settings.engine == "grpc" {
		if _, err := engineURL(settings.engineAddress, settings.tlsKey != ""); err != nil {
			return err
		}
	}
	for _, kind := range engineKinds() {
		if settings.engine == kind {
			return nil
		}
	}
	return fmt.Errorf("--engine must be one of %s", strings.Join(engineKinds(), ", "))
}

// isWebAddress tells whether a text is an absolute URL of HTTP.
func isWebAddress(text string) bool {
	parsed, err := url.Parse(text)
	return err == nil && (parsed.Scheme == "http" || parsed.Scheme == "https") && parsed.Host != ""
}

// list is a flag that may be repeated. What the command line says replaces what the environment said.
type list struct {
	values   []string
	isPreset bool
}

func (list *list) String() string { return strings.Join(list.values, ",") }

// Set adds one value or, of the environment, several divided by commas.
func (list *list) Set(text string) error {
	if list.isPreset {
		list.values, list.isPreset = nil, false
	}
	for value := range strings.SplitSeq(text, ",") {
		if value = strings.TrimSpace(value); value != "" {
			list.values = append(list.values, value)
		}
	}
	return nil
}

// pairs is a flag of the form name=value that may be repeated.
type pairs map[string]string

func (pairs *pairs) String() string { return "" }

// Set adds one pair or, of the environment, several divided by commas.
func (pairs *pairs) Set(text string) error {
	if *pairs == nil {
		*pairs = map[string]string{}
	}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, isPair := strings.Cut(pair, "=")
		if !isPair || name == "" || value == "" {
			return fmt.Errorf("%q is not name=value", pair)
		}
		(*pairs)[name] = value
	}
	return nil
}

// fromEnvironment is os.LookupEnv without empty values, which mean "not set" to people and to container runtimes.
func fromEnvironment(name string) (string, bool) {
	value := os.Getenv(name)
	return value, value != ""
}

// engineProgramBeside is the worker's program in the folder of this one, where a build puts both; else the one on the path.
func engineProgramBeside() string {
	const name = "treeline-engine"
	own, err := os.Executable()
	if err != nil {
		return name
	}
	beside := filepath.Join(filepath.Dir(own), name)
	if _, err := os.Stat(beside); err != nil {
		return name
	}
	return beside
}
