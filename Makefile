# One command a job; each only calls what stands in package.json. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help start start-supabase start-all stop pool proto certificates test wasm models bench bench-analytics bench-inference bench-pool bench-search bench-ipc deploy deploy-dry-run format lint types install

help: node_modules/.package-lock.json
	@npm run --silent help

# npm writes this file last, so it is newer than the lock file when everything is installed.
node_modules/.package-lock.json: package-lock.json
	npm ci --no-fund --no-audit
	@touch $@

install: node_modules/.package-lock.json

start start-supabase start-all pool proto certificates test wasm models bench deploy deploy-dry-run format lint types: node_modules/.package-lock.json
	@npm run --silent $@ -- $(ARGS)

stop:
	@npm run --silent stop -- $(ARGS)

bench-analytics bench-inference bench-pool bench-search bench-ipc: node_modules/.package-lock.json
	@npm run --silent $(subst bench-,bench:,$@) -- $(ARGS)
