// The page's language: a typed catalogue and the matching formats, for every component below the provider.
// Only the chosen language is fetched; the page waits for it rather than show the other one first.

import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import type { Language } from "../api/shapes";
import type { Catalogue } from "./en";
import { makeFormat, type Format } from "./format";

interface Words {
  language: Language;
  text: Catalogue;
  format: Format;
}

const LOAD: Record<Language, () => Promise<Catalogue>> = {
  en: async () => (await import("./en")).en,
  zh: async () => (await import("./zh")).zh,
};
/** Refusals that no first screen meets; until they are here, and in English, the studio's own sentences stand. */
const LOAD_ERRORS: Partial<Record<Language, () => Promise<Catalogue["errors"]>>> = {
  zh: async () => (await import("./zh/errors")).errors,
};
const AGAIN_MS = 2000;

const Context = createContext<Words | null>(null);

interface Loaded {
  language: Language;
  text: Catalogue;
}

/** The words of a language once they are here; until then those of the one before, or null. */
function useCatalogue(language: Language): Loaded | null {
  const [loaded, setLoaded] = useState<Loaded | null>(null);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isWanted = true;
    const load = () =>
      LOAD[language]().then(
        (text) => {
          if (!isWanted) return;
          setLoaded({ language, text });
          void LOAD_ERRORS[language]?.().then(
            (more) => {
              const errors = { ...more, ...text.errors };
              if (isWanted) setLoaded({ language, text: { ...text, errors } });
            },
            () => undefined, // the sentences as they come are enough
          );
        },
        () => {
          if (isWanted) timer = setTimeout(() => void load(), AGAIN_MS);
        },
      );
    void load();
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
  }, [language]);
  return loaded;
}

export function WordsProvider({ language, children }: { language: Language; children: ReactNode }) {
  const loaded = useCatalogue(language);
  const words = useMemo(
    () => loaded && { ...loaded, format: makeFormat(loaded.language) },
    [loaded],
  );
  return words && <Context.Provider value={words}>{children}</Context.Provider>;
}

export function useWords(): Words {
  const words = useContext(Context);
  if (!words) throw new Error("there are no words outside of the WordsProvider");
  return words;
}
