// Answers that nobody has acknowledged yet, and what was shown already, kept on this device.

const STORES = ["answers", "shown"];

function open(name) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => STORES.forEach((store) => request.result.createObjectStore(store));
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

// A few maps on disk; in memory where the browser refuses (private windows of some).
export class Shelf {
  static async open(name) {
    const shelf = new Shelf();
    try {
      shelf.database = await open(name);
    } catch {
      shelf.memory = new Map(STORES.map((store) => [store, new Map()]));
    }
    return shelf;
  }
  run(store, mode, work) {
    return new Promise((resolve, reject) => {
      const transaction = this.database.transaction(store, mode, { durability: "strict" });
      const request = work(transaction.objectStore(store));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = () => reject(transaction.error);
      transaction.onabort = () => reject(transaction.error);
    });
  }
  async put(store, key, value) {
    if (this.memory) this.memory.get(store).set(key, value);
    else await this.run(store, "readwrite", (s) => s.put(value, key));
  }
  async get(store, key) {
    if (this.memory) return this.memory.get(store).get(key);
    return this.run(store, "readonly", (s) => s.get(key));
  }
  async remove(store, key) {
    if (this.memory) this.memory.get(store).delete(key);
    else await this.run(store, "readwrite", (s) => s.delete(key));
  }
  async all(store) {
    if (this.memory) return [...this.memory.get(store).values()];
    return this.run(store, "readonly", (s) => s.getAll());
  }
  // Count a showing of a trial, and return how many there were.
  async countShowing(trial) {
    const count = ((await this.get("shown", trial)) ?? 0) + 1;
    await this.put("shown", trial, count);
    return count;
  }
}
