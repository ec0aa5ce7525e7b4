package upstream

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"
)

// metricLinesMax bounds a page of metrics.
const metricLinesMax = 200_000

// gauges adds up the samples of each metric over its labels, from Prometheus' text format.
func gauges(page []byte) map[string]float64 {
	sums := map[string]float64{}
	scanner := bufio.NewScanner(bytes.NewReader(page))
	for line := 0; scanner.Scan() && line < metricLinesMax; line++ {
		text := scanner.Text()
		if text == "" || text[0] == '#' {
			continue
		}
		name, rest, found := cutName(text)
		fields := strings.Fields(rest)
		if !found || len(fields) == 0 {
			continue
		}
		if value, err := strconv.ParseFloat(fields[0], 64); err == nil {
			sums[name] += value
		}
	}
	return sums
}

// cutName divides a sample into the metric's name and what follows its labels.
func cutName(sample string) (name, rest string, found bool) {
	end := strings.IndexAny(sample, "{ ")
	if end < 0 {
		return "", "", false
	}
	name, rest = sample[:end], sample[end:]
	if rest[0] == '{' {
		// A label's value may hold anything but an unescaped quote, so the last brace ends the labels.
		end = strings.LastIndexByte(rest, '}')
		if end < 0 {
			return "", "", false
		}
		rest = rest[end+1:]
	}
	return name, rest, true
}

// first is the value of the first of the names that there is.
func first(values map[string]float64, names ...string) float64 {
	for _, name := range names {
		if value, found := values[name]; found {
			return value
		}
	}
	return 0
}
