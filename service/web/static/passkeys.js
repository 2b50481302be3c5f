// @ts-check
// Passkeys: the server is asked for a challenge, the browser answers it, and the form goes on with the answer. Without
// this script, or in a browser that knows no passkeys, the forms stay hidden, and passwords and codes do as before.

const WAIT_MS = 15_000;

/** What the browser answers to the server's options.
 * @param {string | undefined} act
 * @param {any} options as the server gives them
 */
function answer(act, options) {
  return act === "create"
    ? navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
    : navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
}

/** Why the browser gave none, by what it throws.
 * @param {HTMLFormElement} form
 * @param {unknown} error
 */
function sentence(form, error) {
  const name = error instanceof Error ? error.name : "";
  if (name === "InvalidStateError") return form.dataset.held;
  return name === "TypeError" || name === "TimeoutError" ? form.dataset.lost : form.dataset.stopped;
}

/** @param {HTMLFormElement} form */
async function begin(form) {
  const body = new URLSearchParams();
  for (const [name, value] of new FormData(form)) body.append(name, String(value));
  const begun = await fetch(form.dataset.begin ?? "", { method: "POST", body, signal: AbortSignal.timeout(WAIT_MS) });
  if (begun.redirected) {
    // The session is over.
    location.assign(begun.url);
    return "";
  }
  if (!begun.headers.get("Content-Type")?.startsWith("application/json")) {
    // The form is of a session before, or the server says something else: the page anew shows what holds now.
    location.reload();
    return "";
  }
  const options = await begun.json();
  if (options.problem) return options.problem;
  const made = await answer(form.dataset.passkey, options);
  for (const secret of form.querySelectorAll("[data-secret]")) /** @type {HTMLInputElement} */ (secret).value = "";
  const field = /** @type {HTMLInputElement} */ (form.elements.namedItem("credential"));
  field.value = JSON.stringify(made);
  form.submit();
  return "";
}

/** @param {HTMLFormElement} form */
function serve(form) {
  const told = /** @type {HTMLElement} */ (form.querySelector("[data-told]"));
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    told.hidden = true;
    let why = "";
    try {
      why = await begin(form);
    } catch (error) {
      why = sentence(form, error) ?? "";
    }
    button.disabled = false;
    told.textContent = why;
    told.hidden = why === "";
  });
  form.hidden = false;
}

if (typeof PublicKeyCredential === "function" && "parseCreationOptionsFromJSON" in PublicKeyCredential) {
  for (const form of document.querySelectorAll("form[data-passkey]")) serve(/** @type {HTMLFormElement} */ (form));
  for (const each of document.querySelectorAll("[data-without-passkeys]")) each.setAttribute("hidden", "");
}
