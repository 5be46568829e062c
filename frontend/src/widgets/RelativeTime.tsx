// "3 minutes ago", with the exact time on hover and for machines.

import { Tooltip } from "antd";
import { useEffect, useState } from "react";
import { useWords } from "../i18n";

export function RelativeTime({ iso }: { iso: string }) {
  const { format } = useWords();
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 15_000);
    return () => clearInterval(timer);
  }, []);
  // A clock a little ahead of ours must not make "in 2 seconds" out of what has just happened.
  const shown = new Date(iso).getTime() - now;
  return (
    <Tooltip title={format.time(iso)}>
      <time dateTime={iso} tabIndex={-1}>
        {format.relative(iso, shown > 0 && shown < 10_000 ? new Date(iso).getTime() : now)}
      </time>
    </Tooltip>
  );
}
