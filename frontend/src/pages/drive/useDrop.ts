// Files dropped anywhere on the page go up into the folder that is open.

import { useEffect, useRef, useState } from "react";
import { readDrop, type Dropped } from "./droppedFiles";

const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;

export function useDrop(onDrop: (dropped: Dropped) => void): boolean {
  const [isOver, setIsOver] = useState(false);
  const depth = useRef(0);
  const listener = useRef(onDrop);
  useEffect(() => {
    listener.current = onDrop;
  });
  useEffect(() => {
    const enter = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      depth.current += 1;
      setIsOver(true);
    };
    const leave = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      depth.current -= 1;
      if (depth.current <= 0) setIsOver(false);
    };
    const over = (event: DragEvent) => {
      if (hasFiles(event)) event.preventDefault();
    };
    const drop = (event: DragEvent) => {
      if (!hasFiles(event) || !event.dataTransfer) return;
      event.preventDefault();
      depth.current = 0;
      setIsOver(false);
      void readDrop(event.dataTransfer).then((dropped) => listener.current(dropped));
    };
    const all = { dragenter: enter, dragleave: leave, dragover: over, drop };
    for (const [name, hear] of Object.entries(all))
      window.addEventListener(name, hear as EventListener);
    return () => {
      for (const [name, hear] of Object.entries(all))
        window.removeEventListener(name, hear as EventListener);
    };
  }, []);
  return isOver;
}
