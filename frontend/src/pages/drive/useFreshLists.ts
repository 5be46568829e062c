// Lists of the drive read anew when an upload is done, whichever page is open.

import { useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { uploadStore } from "../../stores/uploadStore";

export function useFreshLists() {
  const cache = useQueryClient();
  useEffect(() => {
    let timer: number | undefined;
    const stop = uploadStore.onDone(() => {
      // A folder of thousands of files must not ask for the list thousands of times.
      window.clearTimeout(timer);
      timer = window.setTimeout(() => void cache.invalidateQueries({ queryKey: ["drive"] }), 400);
    });
    return () => void stop();
  }, [cache]);
}
