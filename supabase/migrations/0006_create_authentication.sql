-- How a key becomes a tenant, and how a development tenant comes to be.

-- The key and tenant behind a key's hash; no row where the key is unknown, revoked or expired.
-- Security definer, because before this call no tenant is known, and the edge sees no key without one.
create function treeline.authenticate(presented_hash text)
returns table (key_id uuid, tenant_id uuid, tenant_name text)
language sql
stable
security definer
set search_path = ''
as $$
    select api_keys.id, tenants.id, tenants.name
    from treeline.api_keys
    inner join treeline.tenants on api_keys.tenant_id = tenants.id
    where
        api_keys.key_hash = presented_hash
        and api_keys.revoked_at is null
        and (api_keys.expires_at is null or api_keys.expires_at > now())
$$;

comment on function treeline.authenticate(text) is
'Key id, tenant id and tenant name of a live key, by its SHA-256 in lower-case hexadecimal. For the edge.';

-- Makes a tenant and one key, or brings both to the given values where they exist; a withdrawn key stays withdrawn.
-- A hash that belongs to another tenant is an error (23505). Security definer, because nobody else may write these
-- tables; granted to nobody: only the role that migrates, through its membership in the keeper, may call it.
create function treeline.provision(
    tenant uuid,
    tenant_name text,
    key_name text,
    key_prefix text,
    new_key_hash text
) returns uuid
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    provisioned uuid;
begin
    insert into treeline.tenants (id, name) values (tenant, tenant_name)
    on conflict (id) do update set name = excluded.name;

    select api_keys.id into provisioned
    from treeline.api_keys
    where api_keys.tenant_id = tenant and api_keys.key_hash = new_key_hash;

    if provisioned is null then
        insert into treeline.api_keys (tenant_id, name, prefix, key_hash)
        values (tenant, key_name, key_prefix, new_key_hash)
        returning id into provisioned;
    end if;
    return provisioned;
end
$$;

comment on function treeline.provision(uuid, text, text, text, text) is
'Makes a tenant and one of its keys, and returns the key''s id. For local tools; the edge cannot call it.';

revoke all on function treeline.authenticate(text) from public;
revoke all on function treeline.provision(uuid, text, text, text, text) from public;
grant execute on function treeline.authenticate(text) to treeline_edge;

grant create on schema treeline to treeline_keeper;
alter function treeline.authenticate(text) owner to treeline_keeper;
alter function treeline.provision(uuid, text, text, text, text) owner to treeline_keeper;
revoke create on schema treeline from treeline_keeper;
