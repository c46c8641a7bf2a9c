// The REST API with the key that was typed. It stays in this tab, and goes with it.

const KEY = "mnemic-key";

export const key = () => sessionStorage.getItem(KEY);
export const keep = (value) => sessionStorage.setItem(KEY, value);
export const leave = () => sessionStorage.removeItem(KEY);

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function ask(path, { query = {}, body } = {}) {
  const given = Object.entries(query).filter(([, value]) => value);
  const headers = key() ? { Authorization: `Bearer ${key()}` } : {};
  if (body) headers["Content-Type"] = "application/json";
  let reply;
  try {
    reply = await fetch(`${path}?${new URLSearchParams(given)}`, {
      method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body),
    });
  } catch {
    throw new Refused(0, "The server does not answer. Is it still running?");
  }
  const told = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Refused(reply.status, told.detail ?? `The server answered ${reply.status}.`);
  return told;
}
