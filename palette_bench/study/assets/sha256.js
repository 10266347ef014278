// SHA-256 and HMAC (FIPS 180-4, RFC 2104) for pages from a disk or plain http, where browsers give no crypto.subtle.

const ROOTS = (() => {
  const primes = [];
  for (let n = 2; primes.length < 64; n += 1) if (primes.every((p) => n % p)) primes.push(n);
  const bits = (x) => ((x - Math.floor(x)) * 2 ** 32) >>> 0;
  return { start: primes.slice(0, 8).map((p) => bits(Math.sqrt(p))), each: primes.map((p) => bits(Math.cbrt(p))) };
})();

export function sha256(bytes) {
  const length = bytes.length;
  const padded = new Uint8Array(((length + 72) >> 6) << 6);
  padded.set(bytes);
  padded[length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(length / 2 ** 29));
  view.setUint32(padded.length - 4, (length << 3) >>> 0);
  const state = Uint32Array.from(ROOTS.start);
  const words = new Uint32Array(64);
  const turn = (x, n) => (x >>> n) | (x << (32 - n));
  for (let block = 0; block < padded.length; block += 64) {
    for (let n = 0; n < 16; n += 1) words[n] = view.getUint32(block + 4 * n);
    for (let n = 16; n < 64; n += 1) {
      const [u, v] = [words[n - 15], words[n - 2]];
      words[n] = words[n - 16] + (turn(u, 7) ^ turn(u, 18) ^ (u >>> 3)) + words[n - 7]
        + (turn(v, 17) ^ turn(v, 19) ^ (v >>> 10));
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let n = 0; n < 64; n += 1) {
      const first = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + ROOTS.each[n] + words[n]) >>> 0;
      const second = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) >>> 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) >>> 0, c, b, a, (first + second) >>> 0];
    }
    [a, b, c, d, e, f, g, h].forEach((value, n) => { state[n] += value; });
  }
  const digest = new Uint8Array(32);
  state.forEach((value, n) => new DataView(digest.buffer).setUint32(4 * n, value));
  return digest;
}

export const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
export const unhex = (text) => Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));

export function hmac(key, message) {
  const block = new Uint8Array(64);
  block.set(key.length > 64 ? sha256(key) : key);
  const around = (pad, inner) => {
    const joined = new Uint8Array(64 + inner.length);
    joined.set(block.map((byte) => byte ^ pad));
    joined.set(inner, 64);
    return sha256(joined);
  };
  return around(0x5c, around(0x36, message));
}
