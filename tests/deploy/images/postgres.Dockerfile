# What compose.yaml uses of the official postgres image, made of Debian's package.
ARG BASE
FROM ${BASE}
COPY postgres-entrypoint.sh /usr/local/bin/entrypoint
RUN chmod 755 /usr/local/bin/entrypoint \
    && install -d -o postgres -g postgres -m 700 /var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
CMD ["/usr/local/bin/entrypoint"]
