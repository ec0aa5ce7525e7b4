package models

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	v1 "treeline.dev/pool/gen/treeline/v1"
)

// listTimeout bounds how long one provider may take to list its models; an engine that hangs must not hide the others.
const listTimeout = 5 * time.Second

// routes says which provider answers for which name, as of one moment.
type routes struct {
	// byName holds each name that a call may give: `model`, and `provider/model`.
	byName map[string]route
	// listed is what clients are shown, in the providers' order.
	listed []*v1.Model
	// byProvider are the lists that this was made from.
	byProvider [][]*v1.Model
	madeAt     time.Time
}

// route is a provider, and the model's name there.
type route struct {
	provider Provider
	name     string
	// version is the one listed first; of the metrics, not of the call.
	version string
}

// makeRoutes puts the lists together: on a clash the first provider's model keeps the bare name.
func makeRoutes(providers []Provider, lists [][]*v1.Model, now time.Time) *routes {
	made := &routes{byName: map[string]route{}, byProvider: lists, madeAt: now}
	for index, provider := range providers {
		for _, listed := range lists[index] {
			target := route{provider: provider, name: listed.GetName(), version: listed.GetVersion()}
			full := provider.Name() + "/" + target.name
			shown := full
			if before, ok := made.byName[full]; ok {
				target = before
			}
			if taken, ok := made.byName[target.name]; !ok || taken.provider.Name() == provider.Name() {
				made.byName[target.name] = target
				shown = target.name
			}
			made.byName[full] = target
			model := proto.Clone(listed).(*v1.Model)
			model.Name, model.Provider = shown, provider.Name()
			made.listed = append(made.listed, model)
		}
	}
	return made
}

// listAll asks all providers at once. A provider that fails keeps the list it had, so that its models answer with its
// own failure and not with "no such model".
func listAll(ctx context.Context, providers []Provider, before *routes, log *slog.Logger) [][]*v1.Model {
	// What one call finds serves all, so that call's own end must not cut it short.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), listTimeout)
	defer cancel()
	lists := make([][]*v1.Model, len(providers))
	var group sync.WaitGroup
	for index, provider := range providers {
		group.Go(func() {
			list, err := provider.Models(ctx)
			if err != nil {
				log.WarnContext(ctx, "models not listed", "provider", provider.Name(), "error", err)
				if before != nil {
					list = before.byProvider[index]
				}
			}
			lists[index] = list
		})
	}
	group.Wait()
	return lists
}
